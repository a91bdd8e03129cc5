// SPDX-License-Identifier: Apache-2.0
// Charts of reports as SVG, in the part of it that QtSvg draws too (SVG Tiny 1.2): original slate,
// quantized teal, further candidates violet and rose, outliers amber, errors red.
#pragma once

#include "core/report/document.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace bitlathe::report {

/// Colours of contenders by their place; the first is the original.
const char* contender_color(std::size_t place);

/// Counts of values over the same edges, on a logarithmic axis: the original as area, the quantized
/// as line.
struct HistogramChart {
  std::vector<double> edges; ///< counts + 1
  std::vector<std::uint64_t> original, quantized;
  std::string caption;
};
Figure histogram_figure(const HistogramChart& chart);

/// Horizontal bars with names on the left.
struct BarChart {
  struct Bar {
    std::string name;
    double value = 0;
    std::optional<double> low = {}, high = {}; ///< ends of the whisker
    std::string color = "#0f9296";
    bool hatched = false;  ///< predicted, not measured
    std::string text = {}; ///< beside the bar
  };
  std::vector<Bar> bars;
  std::string axis;              ///< what the values are
  std::optional<double> mark;    ///< a line across, such as a half
  std::optional<double> maximum; ///< end of the axis; else from the bars
  std::string caption;
};
Figure bar_figure(const BarChart& chart);

/// Points with errors; those of a line are joined in their order.
struct PointChart {
  struct Point {
    double x = 0, y = 0, error = 0;
    std::string name = {};
    std::string color = "#0f9296";
  };
  std::vector<Point> points, line;
  std::string x_axis, y_axis;
  std::optional<double> floor; ///< a dashed line at this height
  std::string floor_name;
  bool log_y = false;
  std::string caption = {};
};
Figure point_figure(const PointChart& chart);

/// Lines over 1, 2, 3, ...
struct LineChart {
  struct Line {
    std::string name, color;
    std::vector<double> values;
  };
  std::vector<Line> lines;
  std::string x_axis, y_axis, caption;
};
Figure line_figure(const LineChart& chart);

/// Round numbers from about `low` to `high`, `count` or a few more.
std::vector<double> round_ticks(double low, double high, int count);

} // namespace bitlathe::report
