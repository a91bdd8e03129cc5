// SPDX-License-Identifier: Apache-2.0
#include "core/text/trie.h"

namespace bitlathe::text {

void ByteTrie::grow(std::size_t edges) {
  std::size_t size = edges_.size();
  while (size < edges * 2)
    size *= 2;
  if (size == edges_.size())
    return;
  std::vector<Edge> old(size);
  old.swap(edges_);
  for (const auto& edge : old)
    if (edge.key != 0) {
      std::size_t i = slot(edge.key);
      while (edges_[i].key != 0)
        i = (i + 1) & (edges_.size() - 1);
      edges_[i] = edge;
    }
}

void ByteTrie::reserve(std::size_t bytes) { grow(bytes); }

void ByteTrie::insert(std::string_view text, std::uint32_t value) {
  std::uint32_t node = root;
  for (const char byte : text) {
    std::uint32_t next = child(node, byte);
    if (next == none) {
      next = std::uint32_t(values_.size());
      values_.push_back(none);
      if (node == root) {
        roots_[static_cast<unsigned char>(byte)] = next;
      } else {
        grow(used_ + 1);
        std::size_t i = slot(key_of(node, byte));
        while (edges_[i].key != 0)
          i = (i + 1) & (edges_.size() - 1);
        edges_[i] = {key_of(node, byte), next};
        ++used_;
      }
    }
    node = next;
  }
  if (node != root)
    values_[node] = value;
}

} // namespace bitlathe::text
