// SPDX-License-Identifier: Apache-2.0
// A Jinja template as chat templates use it: Jinja 3.1 with trim_blocks, lstrip_blocks, break and
// continue, {% generation %}, raise_exception, strftime_now and a plain tojson, in a sandbox that
// changes nothing. Work and output are bounded, so a bad template is an error and never a hang.
#pragma once

#include "core/base/json.h"
#include "kernels/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace bitlathe::jinja {

/// `variables` is an object. `where` names the template in errors; `now` is seconds since 1970.
Result<std::string> render(std::string_view source, const OrderedJson& variables, std::int64_t now,
                           const std::string& where);

} // namespace bitlathe::jinja
