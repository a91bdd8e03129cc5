// SPDX-License-Identifier: Apache-2.0
// A document as one page that needs nothing beside it: no scripts, no fonts, no addresses. It is
// well-formed XML as well.
#pragma once

#include "core/report/document.h"

namespace bitlathe::report {

std::string document_html(const Document& document);

} // namespace bitlathe::report
