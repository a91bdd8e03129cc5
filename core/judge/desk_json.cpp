// SPDX-License-Identifier: Apache-2.0
// Sealing, and how a session keeps desks.
#include "core/base/lenient_json.h"
#include "core/io/sha256.h"
#include "core/judge/desk.h"

#include <algorithm>

namespace bitlathe {

namespace {

constexpr std::string_view hex = "0123456789abcdef";
constexpr const char* commitment_title = "bitlathe blind desk 1\n";

std::string sha256(std::string_view text) {
  Sha256 hash;
  hash.add(std::as_bytes(std::span(text.data(), text.size())));
  return hash.finish();
}

std::string to_hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    out += hex[static_cast<unsigned char>(c) >> 4];
    out += hex[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

/// Empty when the text is no such digits.
std::string from_hex(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    const auto high = hex.find(text[i]), low = hex.find(text[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos)
      return {};
    out += char(static_cast<unsigned char>(high * 16 + low));
  }
  return out;
}

/// Adds a stream of hashes of the key; twice gives the text again.
std::string scrambled(std::string_view text, const std::string& key) {
  std::string out(text), stream;
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (i % 32 == 0)
      stream = from_hex(sha256(key + ":" + std::to_string(i / 32)));
    out[i] = char(static_cast<unsigned char>(out[i]) ^ static_cast<unsigned char>(stream[i % 32]));
  }
  return out;
}

std::string canonical(const Json& json) {
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Json pair_json(const DeskSides& sides) { return Json::array({sides.a, sides.b}); }

bool read_pairs(const Json& list, std::size_t models, std::vector<DeskSides>& out) {
  if (!list.is_array())
    return false;
  for (const Json& entry : list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_number_unsigned() ||
        !entry[1].is_number_unsigned())
      return false;
    const auto a = entry[0].get<std::uint64_t>(), b = entry[1].get<std::uint64_t>();
    if (a >= models || b >= models || a == b)
      return false;
    out.push_back({std::size_t(a), std::size_t(b)});
  }
  return true;
}

Vote read_vote(const std::string& id) {
  for (const Vote vote : {Vote::a, Vote::b, Vote::tie, Vote::both_bad})
    if (vote_id(vote) == id)
      return vote;
  return Vote::none;
}

Error not_a_desk(std::string why) { return {"bad-file", std::move(why), "blind desk"}; }

} // namespace

Json Desk::assignment() const {
  Json out{{"salt", salt_}, {"seed", seed_}, {"models", Json::array()}};
  for (const DeskModel& model : models_)
    out["models"].push_back({{"title", model.title}, {"path", model.path}});
  out["pairs"] = Json::array();
  for (const DeskSides& pair : pairs_)
    out["pairs"].push_back(pair_json(pair));
  out["sides"] = Json::array();
  for (const DeskSides& sides : sides_)
    out["sides"].push_back(pair_json(sides));
  return out;
}

std::string Desk::commitment_of(const Json& assignment) const {
  Json texts = Json::array();
  for (const DeskItem& item : items_)
    texts.push_back({item.prompt_id, item.category, item.system, item.prompt, item.chat, item.a,
                     item.b, item.identical});
  return sha256(commitment_title + made_ + "\n" + canonical(assignment) + "\n" + canonical(texts));
}

std::string Desk::votes_hash() const {
  Json votes = Json::array();
  for (std::size_t i = 0; i < items_.size(); ++i)
    votes.push_back({vote_id(votes_[i]), item_notes_[i]});
  return sha256(commitment_ + "\n" + unsealed_at_ + "\n" + canonical(votes));
}

bool Desk::take_assignment(const Json& json) {
  models_.clear();
  for (const Json& model : lenient::list(json, "models"))
    models_.push_back({lenient::text(model, "title"), lenient::text(model, "path")});
  pairs_.clear();
  sides_.clear();
  salt_ = lenient::text(json, "salt");
  if (const Json& seed = lenient::member(json, "seed"); seed.is_number_unsigned())
    seed_ = seed.get<std::uint64_t>();
  if (!read_pairs(lenient::member(json, "pairs"), models_.size(), pairs_) ||
      !read_pairs(lenient::member(json, "sides"), models_.size(), sides_))
    return false;
  if (models_.size() > 4 || pairs_.size() > 6) // what can be made
    return false;
  const auto known = [&](const DeskSides& sides) {
    return std::any_of(pairs_.begin(), pairs_.end(), [&](const DeskSides& pair) {
      return (pair.a == sides.a && pair.b == sides.b) || (pair.a == sides.b && pair.b == sides.a);
    });
  };
  return sides_.size() == items_.size() && std::all_of(sides_.begin(), sides_.end(), known);
}

OrderedJson desk_to_json(const Desk& desk) {
  OrderedJson json{{"version", 1}, {"made", desk.made_}, {"commitment", desk.commitment_}};
  json["items"] = OrderedJson::array();
  for (std::size_t i = 0; i < desk.items_.size(); ++i) {
    const DeskItem& item = desk.items_[i];
    OrderedJson entry{{"prompt_id", item.prompt_id},
                      {"category", item.category},
                      {"prompt", item.prompt},
                      {"chat", item.chat},
                      {"a", item.a},
                      {"b", item.b}};
    if (!item.system.empty())
      entry["system"] = item.system;
    if (item.identical)
      entry["identical"] = true;
    if (!desk.item_notes_[i].empty())
      entry["note"] = desk.item_notes_[i];
    json["items"].push_back(std::move(entry));
  }
  json["events"] = OrderedJson::array();
  for (const Desk::Event& event : desk.events_)
    json["events"].push_back(
        {{"item", event.item},
         {"vote", event.vote == Vote::none ? std::string_view("skip") : vote_id(event.vote)},
         {"at", event.at}});
  json["applied"] = desk.applied_;
  json["notes"] = desk.notes_;
  if (desk.unsealed()) {
    json["unsealed"] = desk.unsealed_at_;
    json["assignment"] = desk.assignment();
    json["votes_hash"] = desk.votes_hash_;
  } else {
    const std::string key = sha256("key of " + desk.commitment_);
    json["sealed"] = to_hex(scrambled(canonical(desk.assignment()), key));
  }
  return json;
}

Result<Desk> desk_from_json(const Json& json) {
  if (!json.is_object())
    return not_a_desk("A blind desk of the session cannot be read: it is no JSON object");
  if (const auto version = lenient::integer(json, "version", 1); version != 1)
    return not_a_desk("A blind desk was saved by another version of the program (" +
                      std::to_string(version) + ")");
  Desk desk;
  desk.made_ = lenient::text(json, "made");
  desk.commitment_ = lenient::text(json, "commitment");
  for (const Json& entry : lenient::list(json, "items")) {
    desk.items_.push_back({lenient::text(entry, "prompt_id"), lenient::text(entry, "category"),
                           lenient::text(entry, "system"), lenient::text(entry, "prompt"),
                           lenient::flag(entry, "chat"), lenient::text(entry, "a"),
                           lenient::text(entry, "b"), lenient::flag(entry, "identical")});
    desk.item_notes_.push_back(lenient::text(entry, "note"));
  }
  if (desk.items_.empty())
    return not_a_desk("A blind desk of the session cannot be read: it has no items");
  for (const Json& entry : lenient::list(json, "events")) {
    const std::int64_t item = lenient::integer(entry, "item", -1);
    const std::string vote = lenient::text(entry, "vote");
    if (item < 0 || std::size_t(item) >= desk.items_.size() ||
        desk.items_[std::size_t(item)].identical ||
        (read_vote(vote) == Vote::none && vote != "skip"))
      return not_a_desk("A blind desk of the session cannot be read: a vote is damaged");
    desk.events_.push_back({std::size_t(item), read_vote(vote), lenient::text(entry, "at")});
  }
  const std::int64_t applied = lenient::integer(json, "applied", std::int64_t(desk.events_.size()));
  desk.applied_ =
      std::size_t(std::clamp<std::int64_t>(applied, 0, std::int64_t(desk.events_.size())));
  desk.notes_ = lenient::texts(json, "notes");
  desk.unsealed_at_ = lenient::text(json, "unsealed");
  desk.votes_hash_ = lenient::text(json, "votes_hash");
  desk.settle();

  Json assignment = lenient::member(json, "assignment");
  if (!desk.unsealed()) {
    const std::string key = sha256("key of " + desk.commitment_);
    assignment =
        Json::parse(scrambled(from_hex(lenient::text(json, "sealed")), key), nullptr, false);
  }
  if (!desk.take_assignment(assignment))
    return not_a_desk("The identities of a blind desk cannot be read: its seal is damaged");
  if (desk.commitment_of(desk.assignment()) != desk.commitment_)
    desk.tampering_ = "The texts or the identities are not those that the desk was made with: they "
                      "do not give its commitment";
  else if (desk.unsealed() && desk.votes_hash() != desk.votes_hash_)
    desk.tampering_ = "Votes or notes were changed after the desk was unsealed: they do not give "
                      "the hash recorded then";
  return desk;
}

OrderedJson desks_to_json(const std::vector<Desk>& desks) {
  OrderedJson out{{"desks", OrderedJson::array()}};
  for (const Desk& desk : desks)
    out["desks"].push_back(desk_to_json(desk));
  return out;
}

std::vector<Desk> desks_from_json(const Json& json, std::vector<std::string>* notes) {
  std::vector<Desk> out;
  for (const Json& entry : lenient::list(json, "desks")) {
    auto desk = desk_from_json(entry);
    if (desk)
      out.push_back(std::move(*desk));
    else if (notes)
      notes->push_back(desk.error().message);
  }
  return out;
}

} // namespace bitlathe
