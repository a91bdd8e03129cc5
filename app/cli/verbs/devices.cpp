// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "kernels/base/parallel.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN([[maybe_unused]] Compute * used,
             invocation.compute()); // overrides that are impossible fail here
  OrderedJson json;
  json["threads"] = thread_count();
  json["devices"] = OrderedJson::array();
  for (const DeviceInfo& device : list_devices()) {
    OrderedJson entry{{"name", device.name},
                      {"backend", device.backend},
                      {"type", device.type},
                      {"memory_bytes", device.memory_bytes},
                      {"default", device.is_default}};
    for (const auto& [key, value] : device.properties)
      entry["properties"][key] = value;
    json["devices"].push_back(std::move(entry));
  }
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  for (const auto& device : json["devices"]) {
    out << (device["default"].get<bool>() ? "* " : "  ") << device["name"].get<std::string>()
        << "  [" << device["backend"].get<std::string>() << ", "
        << device["type"].get<std::string>() << ", "
        << show_bytes(device["memory_bytes"].get<std::uint64_t>()) << "]\n";
    if (device.contains("properties"))
      for (const auto& [key, value] : device["properties"].items())
        out << "      " << key << ": " << value.get<std::string>() << '\n';
  }
  out << json["threads"] << " worker threads; * = used by default\n";
}

} // namespace

extern const Verb verb_devices;
const Verb verb_devices{
    "devices", "", "Lists compute devices, instruction sets and limits.", 0, 0, {}, run, show};

} // namespace bitlathe
