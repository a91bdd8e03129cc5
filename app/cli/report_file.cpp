// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/report_file.h"

#include "app/cli/verb.h"
#include "app/report/pdf.h"

#include <QGuiApplication>

namespace bitlathe {

Result<void> check_report_name(const std::string& path) {
  const std::string ending = fs::path(path).extension().string();
  if (ending != ".html" && ending != ".htm" && ending != ".pdf")
    return usage_error("A report is a .html or a .pdf file, not " + path);
  return {};
}

Result<void> write_report(const report::Document& document, const std::string& path) {
  // Paper needs fonts, which come with a GUI application; no window is opened.
  qputenv("QT_QPA_PLATFORM", "offscreen");
  int argc = 1;
  char name[] = "bitlathe-cli";
  char* argv[] = {name, nullptr};
  const QGuiApplication application(argc, argv);
  return report::write_document(document, path);
}

} // namespace bitlathe
