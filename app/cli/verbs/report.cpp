// SPDX-License-Identifier: GPL-3.0-or-later
#include "core/report/report.h"

#include "app/cli/report_file.h"
#include "app/cli/verb.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  const fs::path file = invocation.arguments[0];
  const std::string out = invocation.text("o", file.stem().string() + "-report.html");
  TRY(check_report_name(out));
  if (!is_session(file))
    return Error{"bad-file",
                 "This is no session; save one in the window (Ctrl+S), and give its .bitlathe file",
                 file.string()};
  TRY_ASSIGN(Session session, read_session(file));
  TRY_ASSIGN(const report::Input input, report::open_input(std::move(session), fs::absolute(file)));
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const report::Document document,
             report::session_report(input, *compute, invocation.feedback));
  TRY(write_report(document, out));
  OrderedJson json{{"output", out}, {"title", document.title}};
  json["sections"] = OrderedJson::array();
  for (const report::Section& section : document.sections)
    json["sections"].push_back(
        {{"id", section.id}, {"title", section.title}, {"blocks", section.blocks.size()}});
  json["notes"] = input.notes;
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  out << json["title"].get<std::string>() << '\n';
  for (const auto& section : json["sections"])
    out << "  " << section["title"].get<std::string>() << '\n';
  for (const auto& note : json["notes"])
    out << "note: " << note.get<std::string>() << '\n';
  out << "written to " << json["output"].get<std::string>() << '\n';
}

constexpr VerbOption options[] = {
    {"o", "FILE", "Where to: a .html page that needs nothing else (default), or a .pdf."},
};

} // namespace

extern const Verb verb_report;
const Verb verb_report{"report",
                       "SESSION [-o FILE]",
                       "Writes the report on a saved session, as a page or as paper.",
                       1,
                       1,
                       options,
                       run,
                       show};

} // namespace bitlathe
