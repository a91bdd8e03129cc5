// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/lab/outliers.h"
#include "app/cli/verb.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  if (!invocation.has("o"))
    return usage_error("plant-outliers needs -o DIR");
  OutlierOptions wanted;
  TRY_ASSIGN(wanted.channels, invocation.integer("channels", wanted.channels, 1));
  TRY_ASSIGN(wanted.seed, invocation.integer("seed", wanted.seed, 0));
  TRY_ASSIGN(const double factor, invocation.number("factor", double(wanted.factor),
                                                    double(OutlierOptions::least_factor)));
  wanted.factor = float(factor);
  wanted.replace = invocation.has("force");
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  TRY_ASSIGN(const PlantedOutliers planted,
             plant_outliers(*model, wanted, invocation.text("o"), invocation.feedback));
  OrderedJson json;
  json["output"] = planted.path.string();
  json["bytes"] = planted.bytes;
  json["factor"] = wanted.factor;
  json["seed"] = wanted.seed;
  json["exact"] = planted.exact;
  json["norms"] = OrderedJson::array();
  for (const PlantedNorm& norm : planted.norms)
    json["norms"].push_back(
        {{"name", norm.norm}, {"channels", norm.channels}, {"readers", norm.readers}});
  json["notes"] = planted.notes;
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  TextTable table({"NORM", "CHANNELS"});
  for (const auto& norm : json["norms"]) {
    std::string channels;
    for (const auto& channel : norm["channels"])
      channels += (channels.empty() ? "" : " ") + std::to_string(channel.get<std::int64_t>());
    table.add({norm["name"].get<std::string>(), channels});
  }
  table.print(out);
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  out << '\n'
      << "times " << show_number(json["factor"].get<double>()) << " -> "
      << json["output"].get<std::string>() << " (" << show_bytes(json["bytes"].get<std::uint64_t>())
      << ")\n";
}

constexpr VerbOption options[] = {
    {"o", "DIR", "Folder to write into."},
    {"channels", "N", "Channels of every norm (default 8)."},
    {"factor", "X", "What they are multiplied by, 2 to 1024 (default 64)."},
    {"force", "", "Write into a folder that is not empty."},
};

} // namespace

extern const Verb verb_outliers;
const Verb verb_outliers{"plant-outliers",
                         "MODEL -o DIR",
                         "A copy that computes the same, with large activations in a few channels.",
                         1,
                         1,
                         options,
                         run,
                         show};

} // namespace bitlathe
