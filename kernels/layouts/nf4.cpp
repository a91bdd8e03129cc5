// SPDX-License-Identifier: Apache-2.0
// NF4 of QLoRA: codes of quantiles of the normal distribution; see blockwise.h.
#include "kernels/layouts/blockwise.h"

namespace bitlathe {

extern const Layout layout_nf4;
const Layout layout_nf4 = blockwise_layout<nf4_values>("nf4");

} // namespace bitlathe
