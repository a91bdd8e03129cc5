// SPDX-License-Identifier: Apache-2.0
#include "core/report/charts.h"

#include "core/report/numbers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace bitlathe::report {

namespace {

// Readable on white paper and on a dark page alike.
constexpr const char* ink = "#5d6b7a";
constexpr const char* grid = "#b9c3cd";
constexpr const char* original = "#66788c";
constexpr const char* quantized = "#0f9296";
constexpr double width = 720;
constexpr double letter = 6.2; ///< about the width of one at the size used here

std::string coordinate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", std::isfinite(value) ? value : 0);
  return text;
}

class Svg {
 public:
  explicit Svg(double height) : height_(height) {}

  void line(double x0, double y0, double x1, double y1, const char* color, double thick = 1,
            const char* dashes = nullptr) {
    out_ += "<line x1=\"" + coordinate(x0) + "\" y1=\"" + coordinate(y0) + "\" x2=\"" +
            coordinate(x1) + "\" y2=\"" + coordinate(y1) + "\" stroke=\"" + color +
            "\" stroke-width=\"" + coordinate(thick) + "\"" +
            (dashes ? " stroke-dasharray=\"" + std::string(dashes) + "\"" : "") + "/>\n";
  }
  void rect(double x, double y, double w, double h, const std::string& color, double opacity = 1) {
    out_ += "<rect x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" width=\"" +
            coordinate(std::max(w, 0.0)) + "\" height=\"" + coordinate(std::max(h, 0.0)) +
            "\" fill=\"" + xml_escaped(color) + "\" fill-opacity=\"" + coordinate(opacity) +
            "\"/>\n";
  }
  void frame(double x, double y, double w, double h, const std::string& color) {
    out_ += "<rect x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" width=\"" +
            coordinate(std::max(w, 0.0)) + "\" height=\"" + coordinate(std::max(h, 0.0)) +
            "\" fill=\"none\" stroke=\"" + xml_escaped(color) + "\"/>\n";
  }
  void circle(double x, double y, double r, const std::string& color) {
    out_ += "<circle cx=\"" + coordinate(x) + "\" cy=\"" + coordinate(y) + "\" r=\"" +
            coordinate(r) + "\" fill=\"" + xml_escaped(color) + "\"/>\n";
  }
  enum class Anchor { start, middle, end };
  void text(double x, double y, const std::string& words, Anchor anchor = Anchor::start,
            const char* color = ink) {
    constexpr std::array<const char*, 3> anchors{"start", "middle", "end"};
    out_ += "<text x=\"" + coordinate(x) + "\" y=\"" + coordinate(y) + "\" fill=\"" + color +
            "\" font-family=\"sans-serif\" font-size=\"11\" text-anchor=\"" +
            anchors[std::size_t(anchor)] + "\">" + xml_escaped(words) + "</text>\n";
  }
  void path(const std::vector<std::pair<double, double>>& points, const std::string& color,
            bool filled) {
    if (points.empty())
      return;
    out_ += filled ? "<polygon points=\"" : "<polyline points=\"";
    for (const auto& [x, y] : points)
      out_ += coordinate(x) + "," + coordinate(y) + " ";
    out_.back() = '"';
    out_ += filled
                ? " fill=\"" + xml_escaped(color) + "\" fill-opacity=\"0.45\"/>\n"
                : " fill=\"none\" stroke=\"" + xml_escaped(color) + "\" stroke-width=\"1.6\"/>\n";
  }

  Figure figure(std::string caption) const {
    return {"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + coordinate(width) + " " +
                coordinate(height_) + "\" width=\"" + coordinate(width) + "\" height=\"" +
                coordinate(height_) + "\" role=\"img\">\n" + out_ + "</svg>",
            std::move(caption), width, height_};
  }

 private:
  double height_;
  std::string out_;
};

std::string shortened(const std::string& name, std::size_t most) {
  // The end of a module's name says more than its beginning.
  return name.size() <= most ? name : "\xE2\x80\xA6" + name.substr(name.size() - most + 1);
}

/// Values to places on the paper.
struct Scale {
  double low = 0, high = 1, from = 0, to = 1;
  bool log = false, whole = false; ///< whole: only whole numbers are marked
  double operator()(double value) const {
    const double share = log ? (std::log10(std::max(value, low)) - std::log10(low)) /
                                   (std::log10(high) - std::log10(low))
                             : (value - low) / (high - low);
    return from + (to - from) * std::clamp(share, -0.02, 1.02);
  }
};

/// A range that is never empty, a little wider than the values.
std::pair<double, double> widened(double low, double high, bool log) {
  if (!(low <= high))
    return {log ? 0.1 : 0, 1};
  if (log)
    return {low / 1.25, high * 1.25};
  const double margin = high > low ? 0.06 * (high - low) : std::max(std::fabs(high), 1.0) * 0.1;
  return {low - margin, high + margin};
}

std::vector<double> decades(double low, double high) {
  std::vector<double> out;
  for (int power = int(std::floor(std::log10(low))); power <= int(std::ceil(std::log10(high)));
       ++power)
    for (const double step : {1.0, 2.0, 5.0}) {
      const double value = step * std::pow(10.0, power);
      if (value >= low && value <= high)
        out.push_back(value);
    }
  if (out.size() > 9)
    out.erase(std::remove_if(out.begin(), out.end(),
                             [](double v) {
                               const double power = std::log10(v);
                               return std::fabs(power - std::round(power)) > 1e-9;
                             }),
              out.end());
  return out;
}

void axes(Svg& svg, const Scale& x, const Scale& y, const std::string& x_name,
          const std::string& y_name) {
  for (const double tick : y.log ? decades(y.low, y.high) : round_ticks(y.low, y.high, 5)) {
    svg.line(x.from, y(tick), x.to, y(tick), grid, 0.6);
    svg.text(x.from - 6, y(tick) + 4, number_text(tick, 3), Svg::Anchor::end);
  }
  for (const double tick : round_ticks(x.low, x.high, 7)) {
    if (x.whole && tick != std::floor(tick))
      continue;
    svg.line(x(tick), y.from, x(tick), y.from + 4, grid);
    svg.text(x(tick), y.from + 16, number_text(tick, 4), Svg::Anchor::middle);
  }
  svg.line(x.from, y.from, x.to, y.from, ink, 1);
  svg.text((x.from + x.to) / 2, y.from + 32, x_name, Svg::Anchor::middle);
  svg.text(x.from, y.to - 8, y_name);
}

} // namespace

const char* contender_color(std::size_t place) {
  constexpr std::array<const char*, 4> colors{original, quantized, "#8053c6", "#b8446f"};
  return colors[std::min(place, colors.size() - 1)];
}

std::vector<double> round_ticks(double low, double high, int count) {
  if (!(high > low) || !std::isfinite(high - low) || count < 1)
    return {};
  const double rough = (high - low) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double step = power * (rough / power < 1.5   ? 1
                               : rough / power < 3.5 ? 2
                               : rough / power < 7.5 ? 5
                                                     : 10);
  std::vector<double> out;
  // Counted, not added up, so that a tick at 0 is 0.
  for (double k = std::ceil(low / step - 1e-9); k * step <= high + step * 1e-9; ++k)
    out.push_back(k == 0 ? 0.0 : k * step); // not -0
  return out;
}

Figure histogram_figure(const HistogramChart& chart) {
  Svg svg(230);
  const auto bins =
      std::min(chart.original.size(), chart.edges.empty() ? 0 : chart.edges.size() - 1);
  std::uint64_t most = 1;
  for (const auto* counts : {&chart.original, &chart.quantized})
    for (const std::uint64_t count : *counts)
      most = std::max(most, count);
  const Scale x{chart.edges.empty() ? 0 : chart.edges.front(),
                chart.edges.empty() ? 1 : chart.edges.back(), 52, width - 12};
  const Scale y{0.5, double(most) * 1.3, 190, 22, true};
  axes(svg, x, y, "value", "count");
  const auto outline = [&](const std::vector<std::uint64_t>& counts) {
    std::vector<std::pair<double, double>> points{{x(chart.edges.front()), y.from}};
    for (std::size_t i = 0; i < bins && i < counts.size(); ++i) {
      const double top = counts[i] ? y(double(counts[i])) : y.from;
      points.push_back({x(chart.edges[i]), top});
      points.push_back({x(chart.edges[i + 1]), top});
    }
    points.push_back({points.back().first, y.from});
    return points;
  };
  if (bins > 0) {
    svg.path(outline(chart.original), original, true);
    if (!chart.quantized.empty())
      svg.path(outline(chart.quantized), quantized, false);
  }
  svg.rect(width - 190, 6, 10, 10, original, 0.6);
  svg.text(width - 176, 15, "original");
  if (!chart.quantized.empty()) {
    svg.rect(width - 106, 9, 10, 3, quantized);
    svg.text(width - 92, 15, "quantized");
  }
  return svg.figure(chart.caption);
}

Figure bar_figure(const BarChart& chart) {
  constexpr double step = 20;
  std::size_t longest = 8;
  double high = 0, low = 0;
  std::size_t said = 8;
  for (const auto& bar : chart.bars) {
    longest = std::max(longest, bar.name.size());
    said = std::max(said, bar.text.size());
    for (const double value :
         {bar.value, bar.high.value_or(bar.value), bar.low.value_or(bar.value)})
      if (std::isfinite(value)) {
        high = std::max(high, value);
        low = std::min(low, value);
      }
  }
  const std::size_t most = std::min<std::size_t>(longest, 42);
  const double left = 16 + letter * double(most);
  const double height = 44 + step * double(chart.bars.size());
  Svg svg(height);
  const Scale x{low, chart.maximum.value_or(high > low ? high : low + 1), left,
                std::max(left + 120, width - 14 - letter * double(said))};
  const double bottom = height - 32;
  for (const double tick : round_ticks(x.low, x.high, 5)) {
    svg.line(x(tick), 4, x(tick), bottom, grid, 0.6);
    svg.text(x(tick), bottom + 14, number_text(tick, 3), Svg::Anchor::middle);
  }
  svg.text((x.from + x.to) / 2, bottom + 28, chart.axis, Svg::Anchor::middle);
  for (std::size_t i = 0; i < chart.bars.size(); ++i) {
    const auto& bar = chart.bars[i];
    const double top = 6 + step * double(i);
    svg.text(left - 8, top + 12, shortened(bar.name, most), Svg::Anchor::end);
    if (!std::isfinite(bar.value)) {
      svg.text(left + 4, top + 12, bar.text.empty() ? "not finite" : bar.text);
      continue;
    }
    const double zero = x(0), end = x(bar.value);
    if (bar.hatched)
      svg.frame(std::min(zero, end), top + 2, std::fabs(end - zero), step - 7, bar.color);
    else
      svg.rect(std::min(zero, end), top + 2, std::fabs(end - zero), step - 7, bar.color, 0.85);
    double right = std::max(zero, end);
    if (bar.low && bar.high) {
      const double middle = top + 2 + (step - 7) / 2;
      svg.line(x(*bar.low), middle, x(*bar.high), middle, ink, 1.4);
      for (const double place : {x(*bar.low), x(*bar.high)})
        svg.line(place, middle - 3, place, middle + 3, ink, 1.4);
      right = std::max(right, x(*bar.high));
    }
    svg.text(right + 6, top + 12, bar.text.empty() ? number_text(bar.value, 3) : bar.text);
  }
  if (chart.mark)
    svg.line(x(*chart.mark), 2, x(*chart.mark), bottom, ink, 1.2, "4 3");
  svg.line(x(0), 4, x(0), bottom, ink, 1);
  return svg.figure(chart.caption);
}

Figure point_figure(const PointChart& chart) {
  Svg svg(330);
  double x_low = HUGE_VAL, x_high = -HUGE_VAL, y_low = HUGE_VAL, y_high = -HUGE_VAL;
  const auto drawn = [&](const PointChart::Point& p) {
    return std::isfinite(p.x) && std::isfinite(p.y) && (!chart.log_y || p.y > 0);
  };
  for (const auto* points : {&chart.points, &chart.line})
    for (const auto& p : *points) {
      if (!drawn(p))
        continue;
      x_low = std::min(x_low, p.x);
      x_high = std::max(x_high, p.x);
      const double low = p.y - p.error;
      y_low = std::min(y_low, chart.log_y && low <= 0 ? p.y : low);
      y_high = std::max(y_high, p.y + p.error);
    }
  if (chart.floor && std::isfinite(*chart.floor) && (!chart.log_y || *chart.floor > 0)) {
    y_low = std::min(y_low, *chart.floor);
    y_high = std::max(y_high, *chart.floor);
  }
  const auto [x0, x1] = widened(x_low, x_high, false);
  const auto [y0, y1] = widened(y_low, y_high, chart.log_y);
  const Scale x{x0, x1, 62, width - 20}, y{y0, y1, 284, 26, chart.log_y};
  axes(svg, x, y, chart.x_axis, chart.y_axis);
  if (chart.floor) {
    svg.line(x.from, y(*chart.floor), x.to, y(*chart.floor), ink, 1, "5 4");
    svg.text(x.to, y(*chart.floor) - 4, chart.floor_name, Svg::Anchor::end);
  }
  std::vector<std::pair<double, double>> joined;
  for (const auto& p : chart.line)
    if (drawn(p))
      joined.push_back({x(p.x), y(p.y)});
  if (joined.size() > 1)
    svg.path(joined, original, false);
  for (const auto* points : {&chart.line, &chart.points})
    for (const auto& p : *points) {
      if (!drawn(p))
        continue;
      if (p.error > 0)
        svg.line(x(p.x), y(p.y - p.error), x(p.x), y(p.y + p.error), ink, 1.2);
      svg.circle(x(p.x), y(p.y), 4, p.color);
      // Names keep inside of the paper.
      const bool to_the_left = x(p.x) + letter * double(p.name.size()) + 8 > width;
      svg.text(x(p.x) + (to_the_left ? -7 : 7), y(p.y) - 6, p.name,
               to_the_left ? Svg::Anchor::end : Svg::Anchor::start);
    }
  return svg.figure(chart.caption);
}

Figure line_figure(const LineChart& chart) {
  Svg svg(250);
  double low = HUGE_VAL, high = -HUGE_VAL;
  std::size_t longest = 0;
  for (const auto& line : chart.lines) {
    longest = std::max(longest, line.values.size());
    for (const double value : line.values)
      if (std::isfinite(value)) {
        low = std::min(low, value);
        high = std::max(high, value);
      }
  }
  const auto [y0, y1] = widened(low, high, false);
  const Scale x{1, std::max(2.0, double(longest)), 62, width - 20, false, true};
  const Scale y{y0, y1, 204, 30};
  axes(svg, x, y, chart.x_axis, chart.y_axis);
  double key = width - 20;
  for (const auto& line : chart.lines) {
    std::vector<std::pair<double, double>> points;
    for (std::size_t i = 0; i < line.values.size(); ++i)
      if (std::isfinite(line.values[i]))
        points.push_back({x(double(i + 1)), y(line.values[i])});
    svg.path(points, line.color, false);
    key -= letter * double(line.name.size()) + 20;
    svg.rect(std::max(key, 160.0), 9, 10, 3, line.color);
    svg.text(std::max(key, 160.0) + 14, 15, line.name);
  }
  return svg.figure(chart.caption);
}

} // namespace bitlathe::report
