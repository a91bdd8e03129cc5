// SPDX-License-Identifier: Apache-2.0
// Where it was made, and the commands that make it again.
#include "core/base/lenient_json.h"
#include "core/report/numbers.h"
#include "core/report/section.h"
#include "kernels/base/parallel.h"

#include <QString>
#include <QSysInfo>

namespace bitlathe::report {

namespace {

/// As a POSIX shell reads it.
std::string quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123"
                                          "456789/._-+=:,@") == std::string::npos;
  if (plain)
    return word;
  std::string out = "'";
  for (const char c : word)
    out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

Result<void> make(const Input& input, Compute&, Feedback&, std::vector<Block>& out) {
  Facts facts;
  facts.add("Program", "Bitlathe " BITLATHE_VERSION);
  facts.add("System", QSysInfo::prettyProductName().toStdString() + ", " +
                          QSysInfo::kernelType().toStdString() + " " +
                          QSysInfo::kernelVersion().toStdString());
  facts.add("Worker threads", std::to_string(thread_count()));
  for (const DeviceInfo& device : list_devices())
    facts.add(device.is_default ? "Device (default)" : "Device",
              device.name + ", " + device.backend + ", " + bytes_text(device.memory_bytes));
  if (input.kept) {
    const Json& machine = input.kept->machine;
    facts.add("Quantized with", "version " + lenient::text(machine, "version", "unknown") + ", " +
                                    input.kept->summary.backend + ", instruction set " +
                                    lenient::text(machine, "instruction_set", "unknown"));
  }
  add(out, std::move(facts));

  const std::string model = quoted(input.checkpoint->path.string());
  std::string commands = "bitlathe-cli quantize " + model + " -o OUT --recipe recipe.json";
  if (!input.session.statistics.empty() && input.kept && input.kept->summary.calibration.empty())
    commands +=
        " --statistics " + quoted(session_path(input.file, input.session.statistics).string());
  const Json& choice = input.session.stage("evaluate");
  if (input.session.compare && !lenient::text(choice, "text").empty())
    commands += "\nbitlathe-cli compare " + model + " OUT --text " +
                quoted(lenient::text(choice, "text")) + " --context " +
                std::to_string(lenient::integer(choice, "context")) + " --chunks " +
                std::to_string(input.session.compare->reference_window_nll.size());
  if (!input.file.empty())
    commands += "\nbitlathe-cli report " + quoted(input.file.string()) + " -o report.html";
  add(out, Paragraph{"To make it again, with the recipe below as recipe.json:"});
  add(out, Code{commands});
  add(out, Code{recipe_to_json(input.kept ? input.kept->recipe : input.session.recipe).dump(2)});
  if (input.kept && !(input.kept->recipe == input.session.recipe))
    add(out, Paragraph{"The session's recipe was changed after the result was made; the one "
                       "here is the result's.",
                       Paragraph::Kind::warning});
  return {};
}

} // namespace

} // namespace bitlathe::report

namespace bitlathe {
extern const report::SectionKind report_section_environment;
const report::SectionKind report_section_environment{"environment", "Environment and reproduction",
                                                     report::make};
} // namespace bitlathe
