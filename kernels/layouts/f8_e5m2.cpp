// SPDX-License-Identifier: Apache-2.0
// E5M2: two bits of mantissa, up to 57344; see float8.h.
#include "kernels/layouts/float8.h"

namespace bitlathe {

extern const Layout layout_f8_e5m2;
const Layout layout_f8_e5m2 = float8_layout<true>("f8_e5m2");

} // namespace bitlathe
