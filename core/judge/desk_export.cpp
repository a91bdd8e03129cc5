// SPDX-License-Identifier: Apache-2.0
#include "core/judge/desk_result.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace bitlathe {

namespace {

OrderedJson counts_json(const DeskCounts& counts) {
  return {{"first", counts.first},       {"second", counts.second},       {"ties", counts.ties},
          {"both_bad", counts.both_bad}, {"identical", counts.identical}, {"open", counts.open},
          {"decided", counts.decided()}};
}

OrderedJson share_json(const DeskShare& share) {
  return {{"share", json_number(share.share)},
          {"of", share.of},
          {"exact", {share.exact.low, share.exact.high}},
          {"wilson", {share.wilson.low, share.wilson.high}}};
}

OrderedJson pair_json(const DeskPairResult& pair, const std::vector<DeskModel>& models) {
  OrderedJson json{{"first", models[pair.models.a].title},
                   {"second", models[pair.models.b].title},
                   {"votes", counts_json(pair.counts)},
                   {"second_preferred", share_json(pair.preferred)},
                   {"second_not_worse", share_json(pair.not_worse)},
                   {"sign_test_p", pair.p},
                   {"sign_test_p_adjusted", pair.p_adjusted},
                   {"distinguishable", pair.distinguishable},
                   {"votes_needed", pair.needed},
                   {"detectable_share", json_number(pair.detectable)},
                   {"verdict", pair.verdict},
                   {"power", pair.power},
                   {"categories", OrderedJson::array()}};
  for (const DeskPart& part : pair.categories)
    json["categories"].push_back({{"category", part.category},
                                  {"votes", counts_json(part.counts)},
                                  {"second_preferred", share_json(part.preferred)}});
  return json;
}

/// The title of the model that the vote was for.
std::string winner(const Desk& desk, std::size_t item) {
  const auto sides = desk.sides(item);
  const Vote vote = desk.vote(item);
  if (!sides || (vote != Vote::a && vote != Vote::b))
    return {};
  return desk.models()[vote == Vote::a ? sides->a : sides->b].title;
}

std::string result_word(const Desk& desk, std::size_t item) {
  return desk.items()[item].identical    ? "identical"
         : desk.vote(item) == Vote::none ? "not judged"
                                         : std::string(vote_id(desk.vote(item)));
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos)
    return text;
  std::string quoted = "\"";
  for (const char c : text)
    quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string percent(double share) {
  if (std::isnan(share))
    return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share);
  return text;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

/// In a table's cell.
std::string cell(std::string text) {
  std::string out;
  for (const char c : text)
    out += c == '|' ? std::string("\\|") : c == '\n' ? std::string(" ") : std::string(1, c);
  return out;
}

/// A block of code whose fence is longer than any in the text.
std::string fenced(const std::string& text) {
  std::size_t longest = 2, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  return fence + "text\n" + text + "\n" + fence + "\n";
}

void add_pair(std::string& out, const DeskPairResult& pair, const std::vector<DeskModel>& models) {
  const std::string first = cell(models[pair.models.a].title),
                    second = cell(models[pair.models.b].title);
  out += "\n## " + first + " against " + second + "\n\n" + pair.verdict + "\n\n" + pair.power +
         "\n\n| | " + first + " | " + second + " | tie | both bad | identical | not judged | " +
         second +
         " preferred (of decided) | 95 % exact | 95 % Wilson | sign test p |\n"
         "|---|---|---|---|---|---|---|---|---|---|---|\n";
  const auto row = [&](const std::string& name, const DeskCounts& c, const DeskShare& share,
                       double p) {
    out += "| " + cell(name) + " | " + std::to_string(c.first) + " | " + std::to_string(c.second) +
           " | " + std::to_string(c.ties) + " | " + std::to_string(c.both_bad) + " | " +
           std::to_string(c.identical) + " | " + std::to_string(c.open) + " | " +
           percent(share.share) + " | " + percent(share.exact.low) + " to " +
           percent(share.exact.high) + " | " + percent(share.wilson.low) + " to " +
           percent(share.wilson.high) + " | " + number(p) + " |\n";
  };
  row("all", pair.counts, pair.preferred, pair.p);
  for (const DeskPart& part : pair.categories)
    row(part.category.empty() ? "(none)" : part.category, part.counts, part.preferred,
        sign_test_p(part.counts.first, part.counts.second));
  out += "\n" + second + " was not worse in " + percent(pair.not_worse.share) + " of " +
         std::to_string(pair.not_worse.of) + " judged items (95 % " +
         percent(pair.not_worse.exact.low) + " to " + percent(pair.not_worse.exact.high) + ").\n";
}

} // namespace

OrderedJson desk_report_json(const Desk& desk) {
  OrderedJson json{{"made", desk.made()},
                   {"unsealed", desk.unsealed() ? OrderedJson(desk.unsealed_at()) : OrderedJson()},
                   {"commitment", desk.commitment()},
                   {"items", desk.items().size()},
                   {"asked", desk.asked()},
                   {"answered", desk.answered()}};
  if (!desk.unsealed())
    return json;
  const DeskResult result = desk_result(desk);
  json["models"] = OrderedJson::array();
  for (const DeskModel& model : desk.models())
    json["models"].push_back({{"title", model.title}, {"path", model.path}});
  json["pairs"] = OrderedJson::array();
  for (const DeskPairResult& pair : result.pairs)
    json["pairs"].push_back(pair_json(pair, desk.models()));
  json["sides"] = {{"left", result.left}, {"right", result.right}, {"sign_test_p", result.side_p}};
  json["notes"] = result.notes;
  json["votes"] = OrderedJson::array();
  for (std::size_t i = 0; i < desk.items().size(); ++i) {
    const DeskItem& item = desk.items()[i];
    const DeskSides sides = *desk.sides(i);
    json["votes"].push_back({{"prompt_id", item.prompt_id},
                             {"category", item.category},
                             {"prompt", item.prompt},
                             {"a_model", desk.models()[sides.a].title},
                             {"b_model", desk.models()[sides.b].title},
                             {"a", item.a},
                             {"b", item.b},
                             {"vote", result_word(desk, i)},
                             {"preferred", winner(desk, i)},
                             {"note", desk.note(i)}});
  }
  return json;
}

std::string desk_csv(const Desk& desk) {
  std::string out = "item,prompt_id,category,prompt,a_model,b_model,a,b,vote,preferred,note\n";
  for (std::size_t i = 0; i < desk.items().size(); ++i) {
    const DeskItem& item = desk.items()[i];
    const auto sides = desk.sides(i);
    const std::string fields[] = {std::to_string(i + 1),
                                  item.prompt_id,
                                  item.category,
                                  item.prompt,
                                  sides ? desk.models()[sides->a].title : "",
                                  sides ? desk.models()[sides->b].title : "",
                                  item.a,
                                  item.b,
                                  result_word(desk, i),
                                  winner(desk, i),
                                  desk.note(i)};
    for (const std::string& field : fields)
      out += (&field == fields ? "" : ",") + csv_field(field);
    out += '\n';
  }
  return out;
}

std::string desk_markdown(const Desk& desk) {
  std::string out = "# Blind desk\n\nMade " + desk.made() + ", " + std::to_string(desk.answered()) +
                    " of " + std::to_string(desk.asked()) +
                    " items judged. Commitment (SHA-256): `" + desk.commitment() + "`\n";
  if (!desk.unsealed())
    return out + "\nThe identities are still sealed.\n";
  out += "\nUnsealed " + desk.unsealed_at() + ".\n";
  const DeskResult result = desk_result(desk);
  for (const DeskPairResult& pair : result.pairs)
    add_pair(out, pair, desk.models());
  if (!result.notes.empty())
    out += "\n## Notes\n\n";
  for (const std::string& note : result.notes)
    out += "- " + note + "\n";
  out += "\n## Items\n";
  for (std::size_t i = 0; i < desk.items().size(); ++i) {
    const DeskItem& item = desk.items()[i];
    const DeskSides sides = *desk.sides(i);
    const std::string preferred = winner(desk, i);
    out += "\n### " + std::to_string(i + 1) +
           (item.prompt_id.empty() ? "" : ": prompt " + item.prompt_id) + "\n\n" +
           (item.system.empty() ? "" : "System:\n\n" + fenced(item.system) + "\n") +
           fenced(item.prompt) + "\nVote: " + result_word(desk, i) +
           (preferred.empty() ? "" : " (" + preferred + ")") + "\n\n" +
           (desk.note(i).empty() ? "" : "Note: " + desk.note(i) + "\n\n") + "A, " +
           desk.models()[sides.a].title + ":\n\n" + fenced(item.a) + "\nB, " +
           desk.models()[sides.b].title + ":\n\n" + fenced(item.b);
  }
  return out;
}

} // namespace bitlathe
