// SPDX-License-Identifier: Apache-2.0
#include "core/session/session.h"

#include "core/base/lenient_json.h"
#include "core/eval/compare_json.h"
#include "core/io/files.h"

#include <algorithm>

namespace bitlathe {

namespace {

constexpr int session_version = 1;
constexpr std::uint64_t most_bytes = 256u << 20;

OrderedJson variant_to_json(const SessionVariant& variant) {
  OrderedJson json{{"title", variant.title},
                   {"result", variant.result},
                   {"recipe", recipe_to_json(variant.recipe)},
                   {"bytes", variant.bytes},
                   {"bits_per_weight", json_number(variant.bits_per_weight)},
                   {"seconds", json_number(variant.seconds)},
                   {"made", variant.made},
                   {"baseline", variant.baseline}};
  if (variant.figures) {
    json["figures"] = compare_result_to_json(*variant.figures);
    json["judged_on"] = variant.judged_on;
    json["noise_floor"] = json_number(variant.noise_floor);
  }
  return json;
}

Result<SessionVariant> variant_from_json(const Json& json, const std::string& where) {
  SessionVariant variant;
  variant.title = lenient::text(json, "title");
  variant.result = lenient::text(json, "result");
  TRY_ASSIGN(variant.recipe, recipe_from_json(lenient::member(json, "recipe"), where));
  variant.bytes = std::uint64_t(std::max<std::int64_t>(0, lenient::integer(json, "bytes")));
  variant.bits_per_weight = lenient::number(json, "bits_per_weight");
  variant.seconds = lenient::number(json, "seconds");
  variant.made = lenient::text(json, "made");
  variant.baseline = lenient::flag(json, "baseline");
  if (const Json& figures = lenient::member(json, "figures"); figures.is_object()) {
    variant.figures = compare_result_from_json(figures);
    variant.judged_on = lenient::text(json, "judged_on");
    variant.noise_floor = lenient::number(json, "noise_floor");
  }
  return variant;
}

} // namespace

const Json& Session::stage(const std::string& key) const {
  static const Json nothing;
  const auto it = stages.find(key);
  return it == stages.end() ? nothing : it->second;
}

bool is_session(const fs::path& path) {
  std::error_code failed;
  if (!fs::is_regular_file(path, failed) || fs::file_size(path, failed) > most_bytes)
    return false;
  const auto file = MappedFile::open(path);
  if (!file)
    return false;
  const auto bytes = (*file)->bytes();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '{' &&
         text.find("\"bitlathe_session\"") != std::string_view::npos;
}

Result<Session> read_session(const fs::path& path) {
  const std::string where = path.string();
  TRY_ASSIGN(const Json json, read_json_file(path));
  TRY_ASSIGN(const auto version, json_int(json, "bitlathe_session", where));
  if (version != session_version)
    return Error{"unsupported",
                 "This session was saved by another version of the program (" +
                     std::to_string(version) + ")",
                 where};
  Session session;
  TRY_ASSIGN(session.checkpoint, json_string(json, "checkpoint", where));
  if (const Json& recipe = lenient::member(json, "recipe"); !recipe.is_null()) {
    TRY_ASSIGN(session.recipe, recipe_from_json(recipe, where));
  }
  TRY_ASSIGN(session.result, json_string_or(json, "result", "", where));
  TRY_ASSIGN(session.statistics, json_string_or(json, "statistics", "", where));
  session.selection = lenient::texts(json, "selection");
  session.contenders = lenient::texts(json, "contenders");
  TRY_ASSIGN(session.second, json_string_or(json, "second", "", where));
  if (const Json& compare = lenient::member(json, "compare"); compare.is_object())
    session.compare = compare_from_json(compare);
  for (const Json& variant : lenient::list(json, "variants")) {
    TRY_ASSIGN(auto read, variant_from_json(variant, where));
    session.variants.push_back(std::move(read));
  }
  if (const Json& stages = lenient::member(json, "stages"); stages.is_object())
    for (const auto& [key, state] : stages.items())
      session.stages[key] = state;
  return session;
}

Result<void> write_session(const Session& session, const fs::path& path) {
  OrderedJson json;
  json["bitlathe_session"] = session_version;
  json["checkpoint"] = session.checkpoint;
  json["recipe"] = recipe_to_json(session.recipe);
  if (!session.result.empty())
    json["result"] = session.result;
  if (!session.statistics.empty())
    json["statistics"] = session.statistics;
  json["selection"] = session.selection;
  json["contenders"] = session.contenders;
  if (!session.second.empty())
    json["second"] = session.second;
  if (session.compare)
    json["compare"] = compare_to_json(*session.compare);
  json["variants"] = OrderedJson::array();
  for (const SessionVariant& variant : session.variants)
    json["variants"].push_back(variant_to_json(variant));
  json["stages"] = OrderedJson::object();
  for (const auto& [key, state] : session.stages)
    json["stages"][key] = state;
  return write_file(path, json.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

fs::path session_path(const fs::path& session_file, const std::string& path) {
  return (session_file.parent_path() / path).lexically_normal();
}

} // namespace bitlathe
