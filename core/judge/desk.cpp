// SPDX-License-Identifier: Apache-2.0
#include "core/judge/desk.h"

#include "core/io/sha256.h"

#include <algorithm>
#include <cassert>
#include <ctime>
#include <map>
#include <numeric>
#include <random>

namespace bitlathe {

namespace {

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  char text[32] = "";
  if (gmtime_r(&now, &parts))
    std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string trimmed(const std::string& text) {
  constexpr const char* white = " \t\r\n\v\f";
  const auto from = text.find_first_not_of(white);
  return from == std::string::npos ? std::string()
                                   : text.substr(from, text.find_last_not_of(white) - from + 1);
}

/// Models may leave half characters; the session is JSON and cannot hold them.
std::string valid_utf8(const std::string& text) {
  const std::string dumped = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  const Json read = Json::parse(dumped, nullptr, false);
  return read.is_string() ? read.get<std::string>() : std::string();
}

std::string fresh_salt() {
  std::random_device device;
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (int i = 0; i < 8; ++i)
    for (std::uint32_t bits = device(), k = 0; k < 8; ++k, bits >>= 4)
      out += digits[bits & 15];
  return out;
}

/// The same sequence on every machine, unlike std::shuffle and the distributions.
class Draw {
 public:
  Draw(std::uint64_t seed, const std::string& salt) {
    std::uint64_t hash = 14695981039346656037ull ^ seed;
    for (const char c : salt)
      hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    random_.seed(hash);
  }
  std::size_t below(std::size_t n) { return std::size_t(random_() % n); }
  template <class T> void shuffle(std::vector<T>& list) {
    for (std::size_t i = list.size(); i > 1; --i)
      std::swap(list[i - 1], list[below(i)]);
  }

 private:
  std::mt19937_64 random_;
};

struct Asked {
  std::size_t prompt, pair;
};

/// Every prompt once per round, with another pair each time, so that a prompt is not asked again
/// while its answers are still in mind.
std::vector<Asked> ordered(const std::vector<std::size_t>& prompts, std::size_t pairs, Draw& draw) {
  std::vector<std::vector<std::size_t>> turns(prompts.size());
  for (auto& turn : turns) {
    turn.resize(pairs);
    std::iota(turn.begin(), turn.end(), std::size_t(0));
    draw.shuffle(turn);
  }
  std::vector<Asked> out;
  for (std::size_t round = 0; round < pairs; ++round) {
    std::vector<std::size_t> order(prompts.size());
    std::iota(order.begin(), order.end(), std::size_t(0));
    draw.shuffle(order);
    if (order.size() > 1 && !out.empty() && prompts[order.front()] == out.back().prompt)
      std::swap(order.front(), order.back());
    for (const std::size_t i : order)
      out.push_back({prompts[i], turns[i][round]});
  }
  return out;
}

Error no_desk(std::string why) { return {"bad-argument", std::move(why), "blind desk"}; }

Result<void> check_models(const DeskMaterial& material, const DeskOptions& options) {
  if (options.models.size() < 2 || options.models.size() > 4)
    return no_desk("A blind desk compares two to four models, not " +
                   std::to_string(options.models.size()));
  for (std::size_t i = 0; i < options.models.size(); ++i) {
    if (options.models[i] >= material.models.size())
      return no_desk("There is no model number " + std::to_string(options.models[i]));
    for (std::size_t j = 0; j < i; ++j)
      if (options.models[i] == options.models[j])
        return no_desk("The model " + material.models[options.models[i]].title + " is named twice");
  }
  return {};
}

} // namespace

std::string_view vote_id(Vote vote) {
  switch (vote) {
  case Vote::a:
    return "a";
  case Vote::b:
    return "b";
  case Vote::tie:
    return "tie";
  case Vote::both_bad:
    return "both-bad";
  case Vote::none:
    break;
  }
  return "";
}

Result<Desk> Desk::make(const DeskMaterial& material, const DeskOptions& options) {
  TRY(check_models(material, options));
  Desk desk;
  desk.made_ = now_utc();
  desk.seed_ = options.seed;
  desk.salt_ = options.salt.empty() ? fresh_salt() : options.salt;
  for (const std::size_t model : options.models)
    desk.models_.push_back(material.models[model]);
  for (std::size_t i = 0; i + 1 < options.models.size(); ++i)
    for (std::size_t j = i + 1; j < options.models.size(); ++j)
      if (i == 0 || options.all_pairs)
        desk.pairs_.push_back({i, j});

  std::vector<std::size_t> usable;
  std::size_t left_out = 0;
  std::string why;
  for (std::size_t p = 0; p < material.prompts.size(); ++p) {
    const auto& answers = material.prompts[p].answers;
    bool all = true;
    for (const std::size_t model : options.models)
      if (model >= answers.size() || !answers[model].there) {
        all = false;
        if (why.empty() && model < answers.size())
          why = answers[model].problem;
      }
    if (all)
      usable.push_back(p);
    else
      ++left_out;
  }
  if (usable.empty())
    return no_desk("No prompt has an answer of every chosen model: run the prompts on all of them "
                   "with the same sampling first");
  if (left_out > 0)
    desk.notes_.push_back(std::to_string(left_out) +
                          " prompts were left out: not every model has an answer to them" +
                          (why.empty() ? "" : " (" + valid_utf8(why) + ")"));

  Draw prompts_draw(options.seed, "prompts"), draw(options.seed, desk.salt_);
  if (options.prompts > 0 && options.prompts < usable.size()) {
    prompts_draw.shuffle(usable);
    usable.resize(options.prompts);
    std::sort(usable.begin(), usable.end());
  }
  Draw order_draw(options.seed, "order");
  for (const Asked& asked : ordered(usable, desk.pairs_.size(), order_draw)) {
    const DeskPrompt& prompt = material.prompts[asked.prompt];
    DeskItem item{valid_utf8(prompt.id),
                  valid_utf8(prompt.category),
                  valid_utf8(prompt.system),
                  valid_utf8(prompt.prompt),
                  prompt.chat,
                  {},
                  {}};
    const DeskSides pair = desk.pairs_[asked.pair];
    item.a = valid_utf8(prompt.answers[options.models[pair.a]].text);
    item.b = valid_utf8(prompt.answers[options.models[pair.b]].text);
    item.identical = trimmed(item.a) == trimmed(item.b);
    desk.items_.push_back(std::move(item));
    desk.sides_.push_back(pair);
  }
  // Either model of a pair stands left equally often, so that a habit of the eye favours neither.
  for (const DeskSides& pair : desk.pairs_) {
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < desk.sides_.size(); ++i)
      if (!desk.items_[i].identical && desk.sides_[i].a == pair.a && desk.sides_[i].b == pair.b)
        places.push_back(i);
    draw.shuffle(places);
    const std::size_t swaps = places.size() / 2 + (places.size() % 2 ? draw.below(2) : 0);
    for (std::size_t k = 0; k < swaps; ++k) {
      std::swap(desk.items_[places[k]].a, desk.items_[places[k]].b);
      std::swap(desk.sides_[places[k]].a, desk.sides_[places[k]].b);
    }
  }
  desk.item_notes_.resize(desk.items_.size());
  desk.settle();
  desk.commitment_ = desk.commitment_of(desk.assignment());
  return desk;
}

// --- voting -------------------------------------------------------------------------------------

std::size_t Desk::asked() const {
  return std::size_t(std::count_if(items_.begin(), items_.end(),
                                   [](const DeskItem& item) { return !item.identical; }));
}

std::size_t Desk::answered() const {
  return std::size_t(std::count_if(votes_.begin(), votes_.end(),
                                   [](const Vote vote) { return vote != Vote::none; }));
}

void Desk::settle() {
  constexpr std::size_t never = SIZE_MAX;
  votes_.assign(items_.size(), Vote::none);
  std::vector<std::size_t> skipped_at(items_.size(), never);
  for (std::size_t i = 0; i < applied_; ++i) {
    const Event& event = events_[i];
    if (event.vote != Vote::none)
      votes_[event.item] = event.vote;
    skipped_at[event.item] = votes_[event.item] == Vote::none ? i : never;
  }
  skipped_.clear();
  for (std::size_t i = 0; i < items_.size(); ++i)
    if (skipped_at[i] != never)
      skipped_.push_back(i);
  std::sort(skipped_.begin(), skipped_.end(),
            [&](std::size_t x, std::size_t y) { return skipped_at[x] < skipped_at[y]; });
}

std::optional<std::size_t> Desk::next() const {
  std::vector<bool> later(items_.size(), false);
  for (const std::size_t item : skipped_)
    later[item] = true;
  for (std::size_t i = 0; i < items_.size(); ++i)
    if (!items_[i].identical && votes_[i] == Vote::none && !later[i])
      return i;
  return skipped_.empty() ? std::nullopt : std::optional(skipped_.front());
}

void Desk::record(std::size_t item, Vote vote) {
  if (unsealed() || item >= items_.size() || items_[item].identical)
    return;
  events_.resize(applied_);
  events_.push_back({item, vote, now_utc()});
  ++applied_;
  settle();
}

void Desk::cast(std::size_t item, Vote vote) {
  if (vote != Vote::none)
    record(item, vote);
}

void Desk::skip(std::size_t item) { record(item, Vote::none); }

void Desk::set_note(std::size_t item, std::string text) {
  if (!unsealed() && item < items_.size())
    item_notes_[item] = valid_utf8(text);
}

std::optional<std::size_t> Desk::undo() {
  if (!can_undo())
    return std::nullopt;
  --applied_;
  settle();
  return events_[applied_].item;
}

std::optional<std::size_t> Desk::redo() {
  if (!can_redo())
    return std::nullopt;
  const std::size_t item = events_[applied_++].item;
  settle();
  return item;
}

void Desk::unseal() {
  if (unsealed())
    return;
  events_.resize(applied_); // what was undone stays undone
  unsealed_at_ = now_utc();
  votes_hash_ = votes_hash();
}

const std::vector<DeskModel>& Desk::models() const {
  static const std::vector<DeskModel> unknown;
  return unsealed() ? models_ : unknown;
}

std::optional<DeskSides> Desk::sides(std::size_t item) const {
  return unsealed() && item < sides_.size() ? std::optional(sides_[item]) : std::nullopt;
}

std::vector<DeskSides> Desk::pairs() const {
  return unsealed() ? pairs_ : std::vector<DeskSides>();
}

} // namespace bitlathe
