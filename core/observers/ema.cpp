// SPDX-License-Identifier: Apache-2.0
#include "core/observers/observer.h"

namespace bitlathe {

extern const Observer observer_ema;
const Observer observer_ema{"ema",
                            "A moving average of each batch's minimum and maximum. Weights are one "
                            "batch: the same as minmax.",
                            nullptr};

} // namespace bitlathe
