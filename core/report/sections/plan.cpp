// SPDX-License-Identifier: Apache-2.0
// What the recipe does to every kind of module, and why.
#include "core/report/numbers.h"
#include "core/report/section.h"

#include <map>
#include <tuple>

namespace bitlathe::report {

namespace {

struct Group {
  std::int64_t modules = 0;
  std::uint64_t before = 0, after = 0;
};

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  const Recipe& recipe = input.session.recipe;
  Facts facts;
  facts.add("Default", recipe.default_scheme + ", " + recipe.default_method);
  facts.add("Activations", recipe.activations);
  facts.add("KV cache", recipe.kv_keys + " keys, " + recipe.kv_values + " values");
  if (input.plan) {
    const Plan& plan = *input.plan;
    facts.add("Size", bytes_text(plan.bytes_before) + " \xE2\x86\x92 " +
                          bytes_text(plan.bytes_after) + " (" +
                          number_text(plan.bits_per_weight, 4) + " bits per weight)");
    facts.add("Quantized", percent_text(plan.parameters ? double(plan.quantized_parameters) /
                                                              double(plan.parameters)
                                                        : 0) +
                               " of the parameters, at " +
                               number_text(plan.bits_per_quantized_weight, 4) + " bits per weight");
  }
  add(out, std::move(facts));
  if (input.plan) {
    using Key = std::tuple<std::string, std::string, std::string, std::string>;
    std::map<Key, Group> groups;
    std::vector<const Key*> order;
    for (const PlannedModule& module : input.plan->modules) {
      const auto [at, first] =
          groups.try_emplace({module.role, module.scheme.id, module.method, module.reason});
      if (first)
        order.push_back(&at->first);
      ++at->second.modules;
      at->second.before += module.bytes_before;
      at->second.after += module.bytes_after;
    }
    DocumentTable table{{{"role"},
                         {"modules", true},
                         {"scheme"},
                         {"method"},
                         {"before", true},
                         {"after", true},
                         {"reason"}},
                        {},
                        "The plan, modules of one kind together"};
    for (const Key* key : order) {
      const Group& group = groups[*key];
      const auto& [role, scheme, method, reason] = *key;
      table.rows.push_back({role, std::to_string(group.modules), scheme,
                            method.empty() ? "-" : method, bytes_text(group.before),
                            bytes_text(group.after), reason});
    }
    add(out, std::move(table));
    for (const std::string& note : input.plan->notes)
      add(out, Paragraph{note, Paragraph::Kind::warning});
  }
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_plan;
const report::SectionKind report_section_plan{"plan", "Recipe and plan", report::make};
} // namespace bitlathe
