// SPDX-License-Identifier: Apache-2.0
// One step up: the scheme that spends more on a module which costs too much.
#pragma once

#include "core/schemes/scheme.h"

namespace bitlathe {

/// The next scheme of the same kind with more bits that some method can make, else one of a
/// neighbouring kind. Empty: there is none below 16 bits, and the module is better left as it is.
std::string finer_scheme(const Scheme& scheme);

} // namespace bitlathe
