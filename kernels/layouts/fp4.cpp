// SPDX-License-Identifier: Apache-2.0
// FP4 of bitsandbytes: codes of a float of four bits; see blockwise.h.
#include "kernels/layouts/blockwise.h"

namespace bitlathe {

extern const Layout layout_fp4;
const Layout layout_fp4 = blockwise_layout<fp4_values>("fp4");

} // namespace bitlathe
