// SPDX-License-Identifier: GPL-3.0-or-later
// Writing reports from the command line.
#pragma once

#include "core/report/document.h"
#include "kernels/base/result.h"

namespace bitlathe {

/// Error "usage" when the ending is neither .html nor .pdf; called before the work starts.
Result<void> check_report_name(const std::string& path);
/// Error "io" naming the file. No display is needed.
Result<void> write_report(const report::Document& document, const std::string& path);

} // namespace bitlathe
