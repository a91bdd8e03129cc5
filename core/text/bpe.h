// SPDX-License-Identifier: Apache-2.0
// Byte-pair encoding of one piece of text: characters to ids, then merges in rank order. Behaves
// like huggingface/tokenizers (models/bpe), tie-breaking included.
#pragma once

#include "core/text/vocabulary.h"
#include "kernels/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe::text {

/// What a pair of neighbouring ids merges into.
struct Merge {
  std::int32_t rank = -1, id = -1;
};

/// Pairs of ids to merges: open addressing, because a lookup happens for every pair seen.
class MergeTable {
 public:
  void reserve(std::size_t pairs);
  /// A pair that is there already gets the new merge.
  void insert(std::int32_t left, std::int32_t right, Merge merge);
  /// rank -1: these two do not merge.
  Merge find(std::int32_t left, std::int32_t right) const;
  std::size_t size() const { return used_; }
  template <class F> void for_each(F&& f) const {
    for (const auto& s : slots_)
      if (s.merge.rank >= 0)
        f(std::int32_t(s.key >> 32), std::int32_t(s.key));
  }

 private:
  struct Slot {
    std::uint64_t key = ~std::uint64_t(0);
    Merge merge;
  };
  std::size_t slot(std::uint64_t key) const;
  std::vector<Slot> slots_;
  std::size_t used_ = 0;
};

class Bpe {
 public:
  Vocabulary vocabulary;
  MergeTable merges;
  std::int32_t unknown = -1;      ///< id of unk_token; -1: unknown characters are dropped
  bool fuse_unknown = false;      ///< a run of unknown characters gives one id
  bool byte_fallback = false;     ///< unknown characters become <0xXX> where all of them exist
  bool whole_words_first = false; ///< "ignore_merges": a piece that is a token is that token
  std::int32_t whole_word_limit = INT32_MAX; ///< ids from here on are no tokens of their own
  std::string continuing_prefix, end_suffix;

  std::int32_t find(std::string_view token) const; ///< -1: none
  /// To be called once, when all of the above is set.
  void prepare();
  /// Appends the ids of `piece` (valid UTF-8).
  void encode(std::string_view piece, std::vector<std::int32_t>& out) const;

 private:
  struct Symbol {
    std::int32_t id;
    std::int32_t previous, next; ///< neighbours, -1 at the ends
    bool merged_away;
  };
  std::int32_t find_char(std::string_view character) const;
  void first_symbols(std::string_view piece, std::vector<std::int32_t>& ids) const;
  void merge_short(const std::int32_t* ids, std::size_t count,
                   std::vector<std::int32_t>& out) const;
  void merge_long(const std::int32_t* ids, std::size_t count, std::vector<std::int32_t>& out) const;
  /// Neighbouring characters (as ids) that some merge can join; between others a text can be cut.
  MergeTable joints_;
  bool cuts_ = false;
  std::int32_t small_chars_[0x800];
  std::int32_t byte_tokens_[256];
};

} // namespace bitlathe::text
