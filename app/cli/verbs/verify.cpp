// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/export/exporter.h"
#include "core/job/memory.h"

#include <ostream>

namespace bitlathe {

namespace {

Result<OrderedJson> run(Invocation& invocation) {
  TRY_ASSIGN(Compute * compute, invocation.compute());
  std::shared_ptr<const Checkpoint> against;
  if (invocation.has("against")) {
    TRY_ASSIGN(against, open_model(invocation.text("against")));
  }
  TRY_ASSIGN(const VerifyReport report, verify_checkpoint(invocation.arguments[0], against.get(),
                                                          *compute, invocation.feedback));
  OrderedJson json;
  json["ok"] = report.ok;
  json["checks"] = OrderedJson::array();
  for (const VerifyCheck& check : report.checks)
    json["checks"].push_back({{"name", check.name}, {"ok", check.ok}, {"detail", check.detail}});
  json["worst"] = OrderedJson::array();
  for (const VerifyWorst& w : report.worst)
    json["worst"].push_back({{"module", w.module},
                             {"mse", json_number(w.mse)},
                             {"sqnr_db", json_number(w.sqnr_db)},
                             {"max_abs_error", json_number(w.max_abs_error)}});
  json["peak_rss_bytes"] = peak_rss_bytes();
  if (!report.ok) {
    std::string failed;
    for (const VerifyCheck& check : report.checks)
      if (!check.ok)
        failed += (failed.empty() ? "" : "; ") + check.name + ": " + check.detail;
    return Error{"mismatch", "Verification failed: " + failed, invocation.arguments[0]};
  }
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  for (const auto& check : json["checks"])
    out << (check["ok"].get<bool>() ? "ok    " : "FAIL  ") << check["name"].get<std::string>()
        << "  " << check["detail"].get<std::string>() << '\n';
  if (json["worst"].empty())
    return;
  TextTable table({"LARGEST ERRORS", "MSE", "SQNR dB", "MAX ERROR"});
  for (const auto& w : json["worst"])
    table.add(
        {w["module"].get<std::string>(),
         w["mse"].is_number() ? show_number(w["mse"].get<double>()) : "-",
         w["sqnr_db"].is_number() ? show_number(w["sqnr_db"].get<double>()) : "-",
         w["max_abs_error"].is_number() ? show_number(w["max_abs_error"].get<double>()) : "-"});
  table.print(out);
}

constexpr VerbOption options[] = {
    {"against", "MODEL", "Compare every module with this checkpoint."},
};

} // namespace

extern const Verb verb_verify;
const Verb verb_verify{
    "verify", "CHECKPOINT", "Re-opens an export, checks its structure, compares it.", 1, 1, options,
    run,      show};

} // namespace bitlathe
