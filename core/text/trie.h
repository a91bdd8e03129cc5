// SPDX-License-Identifier: Apache-2.0
// Texts by their bytes, to find which of them a text begins with.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace bitlathe::text {

/// Edges live in one open-addressed table, so that a step costs one look-up whatever the node.
class ByteTrie {
 public:
  static constexpr std::uint32_t none = ~std::uint32_t(0);

  bool empty() const { return values_.size() == 1; }
  void reserve(std::size_t bytes);
  /// A text that is there already gets the new value; an empty one is left out.
  void insert(std::string_view text, std::uint32_t value);

  static constexpr std::uint32_t root = 0;
  std::uint32_t child(std::uint32_t node, char byte) const {
    if (node == root)
      return roots_[static_cast<unsigned char>(byte)];
    const std::uint64_t key = key_of(node, byte);
    for (std::size_t i = slot(key);; i = (i + 1) & (edges_.size() - 1))
      if (edges_[i].key == key)
        return edges_[i].child;
      else if (edges_[i].key == 0)
        return none;
  }
  /// `none` when no text ends here.
  std::uint32_t value(std::uint32_t node) const { return values_[node]; }

  /// Calls f(length, value) for every text that `text` begins with, the shortest first.
  template <class F> void each_prefix(std::string_view text, F&& f) const {
    std::uint32_t node = root;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = child(node, text[i]);
      if (node == none)
        return;
      if (values_[node] != none)
        f(i + 1, values_[node]);
    }
  }

 private:
  struct Edge {
    std::uint64_t key = 0; ///< 0: no edge (the root's edges are not in the table)
    std::uint32_t child = 0;
  };
  static std::uint64_t key_of(std::uint32_t node, char byte) {
    return std::uint64_t(node) << 8 | static_cast<unsigned char>(byte);
  }
  std::size_t slot(std::uint64_t key) const {
    const std::uint64_t hash = key * 0x9E3779B97F4A7C15u;
    return (hash ^ hash >> 32) & (edges_.size() - 1);
  }
  void grow(std::size_t edges);

  std::vector<Edge> edges_ = std::vector<Edge>(16);
  std::size_t used_ = 0;
  std::vector<std::uint32_t> values_{none};
  std::vector<std::uint32_t> roots_ = std::vector<std::uint32_t>(256, none);
};

} // namespace bitlathe::text
