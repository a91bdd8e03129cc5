// SPDX-License-Identifier: GPL-3.0-or-later
// A session to learn from: the demo model with planted outliers, ready to be broken and mended.
#pragma once

#include <functional>
#include <QString>

class QObject;

namespace bitlathe::gui {

class Workbench;

/// Where the planted model is kept.
QString outlierSampleFolder();

/// Plants outliers in a copy of the demo model (a job with progress and cancel), opens it, sets
/// naive 8-bit weights and activations as the recipe, selects a layer that shows the outliers and
/// calibrates. `explain` gets a text for people once it is open. Failures go to Workbench::message.
void openOutlierSample(Workbench& workbench, QObject* context,
                       std::function<void(const QString&)> explain);

} // namespace bitlathe::gui
