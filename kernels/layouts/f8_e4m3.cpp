// SPDX-License-Identifier: Apache-2.0
// E4M3: three bits of mantissa, up to 448; see float8.h.
#include "kernels/layouts/float8.h"

namespace bitlathe {

extern const Layout layout_f8_e4m3;
const Layout layout_f8_e4m3 = float8_layout<false>("f8_e4m3");

} // namespace bitlathe
