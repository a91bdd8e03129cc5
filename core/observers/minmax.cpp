// SPDX-License-Identifier: Apache-2.0
#include "core/observers/observer.h"

namespace bitlathe {

extern const Observer observer_minmax;
const Observer observer_minmax{"minmax", "The smallest and the largest value; nothing is clipped.",
                               nullptr};

} // namespace bitlathe
