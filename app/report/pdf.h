// SPDX-License-Identifier: GPL-3.0-or-later
// A report's document on A4 paper. Charts stay vectors. Needs a QGuiApplication.
#pragma once

#include "core/report/document.h"
#include "kernels/base/result.h"

#include <filesystem>

namespace bitlathe::report {

/// Writes the file atomically. Errors: "io" naming the file.
Result<void> write_pdf(const Document& document, const std::filesystem::path& path);

/// By the file's ending: .html, .htm or .pdf; error "bad-argument" for another one.
Result<void> write_document(const Document& document, const std::filesystem::path& path);

} // namespace bitlathe::report
