// SPDX-License-Identifier: Apache-2.0
// Ranges from histograms, where the values themselves are gone: activations.
#pragma once

#include "core/calib/statistics.h"
#include "core/observers/observer.h"

namespace bitlathe {

/// counts[i] values in [lo + i * width, lo + (i + 1) * width), taken as spread evenly over their
/// bin. "minmax" is the outer edges of the outermost filled bins. An empty histogram gives {0, 0}.
Range observe_histogram(const Observer& observer, std::span<const std::uint64_t> counts, double lo,
                        double hi, const ObserverContext& context);

/// The range of a module's inputs: as above, within their exact minimum and maximum, and "ema" from
/// the samples' averages. An error when the statistics hold no histogram (importance matrices).
Result<Range> observe_activations(const Observer& observer, const ActivationModule& module,
                                  const ObserverContext& context);

} // namespace bitlathe
