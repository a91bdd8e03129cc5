// SPDX-License-Identifier: Apache-2.0
// A blind desk: prompts x pairs of models, shuffled, with both answers side by side and nothing
// that tells whose they are. Votes are taken back and redone, items skipped and come back to; the
// identities stay sealed until the end, when votes are locked and counted (desk_result.h).
//
// What sealing protects against, and what not. Which model stands left is drawn from the seed and a
// secret salt. In memory nothing outside this class can ask for it before the end. In the session
// file it is scrambled, so that looking at the file does not tell; the key stands beside it, so
// whoever takes the trouble can open it, and the transcripts of the same session name their models.
// It keeps honest judges blind; it is no lock. The commitment, a SHA-256 known from the start,
// fixes the identities and every text: once unsealed, anybody can compute it again from what the
// file then shows in clear (`assignment`, which holds the salt) and see whether either was changed
// afterwards. Votes carry a hash from the moment of unsealing, which shows edits unless it is made
// anew as well.
#pragma once

#include "core/base/json.h"
#include "core/judge/transcripts.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitlathe {

/// A model whose answers are judged.
struct DeskModel {
  std::string title, path;
  bool operator==(const DeskModel&) const = default;
};
/// What one prompt brought; `answers` in the order of the models. Without an answer: why not.
struct DeskAnswer {
  bool there = false;
  std::string text, problem;
};
struct DeskPrompt {
  std::string id, category, system, prompt;
  bool chat = false;
  std::vector<DeskAnswer> answers;
};
struct DeskMaterial {
  std::vector<DeskModel> models;
  std::vector<DeskPrompt> prompts;
};
/// Models and prompts in the order in which they come; a prompt that was run again with the same
/// sampling has the newer answers.
DeskMaterial desk_material(const std::vector<Transcript>& transcripts);
/// What a prompt's id says of its kind: the part before its number ("writing-3": "writing"), else
/// its first word ("follow-three-lines": "follow"); empty when there is none.
std::string prompt_category(std::string_view id);

struct DeskOptions {
  std::vector<std::size_t> models; ///< of the material, two to four; the first is the reference
  bool all_pairs = false;          ///< else the reference with each of the others
  std::size_t prompts = 0;         ///< at most so many, drawn by the seed; 0: all
  std::uint64_t seed = 0;
  std::string salt = {}; ///< for tests; empty: drawn from the machine's randomness
};

enum class Vote { none, a, b, tie, both_bad };
std::string_view vote_id(Vote vote); ///< "a", "b", "tie", "both-bad", ""

/// What is asked. `identical`: both texts are the same but for white space at their ends; such an
/// item is not asked and counts as a tie.
struct DeskItem {
  std::string prompt_id, category, system, prompt;
  bool chat = false;
  std::string a, b;
  bool identical = false;
};
/// Whose answers an item has: indices of models. Known once the desk is unsealed.
struct DeskSides {
  std::size_t a = 0, b = 0;
};

class Desk {
 public:
  /// Error "bad-argument" when models or prompts do not make a desk.
  static Result<Desk> make(const DeskMaterial& material, const DeskOptions& options);

  const std::vector<DeskItem>& items() const { return items_; }
  const std::vector<std::string>& notes() const { return notes_; } ///< prompts that were left out
  const std::string& made() const { return made_; }                ///< UTC
  const std::string& commitment() const { return commitment_; }

  Vote vote(std::size_t item) const { return votes_[item]; }
  const std::string& note(std::size_t item) const { return item_notes_[item]; }
  std::size_t asked() const;    ///< items that are not identical
  std::size_t answered() const; ///< of these
  bool complete() const { return answered() == asked(); }
  /// The item to judge next: unanswered ones in order, then those that were skipped, the first
  /// skipped first. Nothing when all are answered.
  std::optional<std::size_t> next() const;

  /// These change nothing once unsealed. Voting again on an item replaces its vote.
  void cast(std::size_t item, Vote vote);
  void skip(std::size_t item);
  void set_note(std::size_t item, std::string text);
  bool can_undo() const { return !unsealed() && applied_ > 0; }
  bool can_redo() const { return !unsealed() && applied_ < events_.size(); }
  /// Takes back the last vote or skip; the item it was about.
  std::optional<std::size_t> undo();
  std::optional<std::size_t> redo();

  /// Final: votes are locked, identities known.
  void unseal();
  bool unsealed() const { return !unsealed_at_.empty(); }
  const std::string& unsealed_at() const { return unsealed_at_; } ///< UTC
  /// Empty and none while sealed.
  const std::vector<DeskModel>& models() const;
  std::optional<DeskSides> sides(std::size_t item) const;
  std::vector<DeskSides> pairs() const; ///< as compared: reference or earlier model first
  std::uint64_t seed() const { return unsealed() ? seed_ : 0; }
  /// What does not fit together of a desk that was read: texts, identities or votes that are not
  /// those of its hashes. Empty: all do.
  const std::string& tampering() const { return tampering_; }

 private:
  friend OrderedJson desk_to_json(const Desk& desk);
  friend Result<Desk> desk_from_json(const Json& json);

  struct Event {
    std::size_t item = 0;
    Vote vote = Vote::none; ///< none: skipped
    std::string at;
  };
  Json assignment() const;
  std::string commitment_of(const Json& assignment) const;
  std::string votes_hash() const;
  bool take_assignment(const Json& assignment);
  void settle(); ///< votes and skips from the events in effect
  void record(std::size_t item, Vote vote);

  std::vector<DeskItem> items_;
  std::vector<std::string> notes_, item_notes_;
  std::string made_, commitment_, unsealed_at_, votes_hash_, tampering_;
  std::vector<Event> events_; ///< those from `applied_` on were undone
  std::size_t applied_ = 0;
  std::vector<Vote> votes_;
  std::vector<std::size_t> skipped_; ///< unanswered items, the first skipped first
  // sealed
  std::vector<DeskModel> models_;
  std::vector<DeskSides> sides_, pairs_;
  std::uint64_t seed_ = 0;
  std::string salt_;
};

OrderedJson desk_to_json(const Desk& desk);
/// Tolerates missing keys; what cannot be a desk at all is an error.
Result<Desk> desk_from_json(const Json& json);

/// All desks of a session, oldest first, as its key "desk" holds them; the last one is the current.
OrderedJson desks_to_json(const std::vector<Desk>& desks);
/// What cannot be read is left out, with a note.
std::vector<Desk> desks_from_json(const Json& json, std::vector<std::string>* notes = nullptr);

} // namespace bitlathe
