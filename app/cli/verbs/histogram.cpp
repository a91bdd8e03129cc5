// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/cli/verb.h"

#include "core/eval/weight_stats.h"

#include <algorithm>
#include <cmath>
#include <ostream>
#include <QGuiApplication>
#include <QImage>
#include <QPainter>

namespace bitlathe {

namespace {

/// Bars on a logarithmic count axis, original slate.
Result<void> save_png(const Histogram& histogram, const std::string& title,
                      const std::string& path) {
  // Text needs a GUI application; no window is opened.
  qputenv("QT_QPA_PLATFORM", "offscreen");
  int argc = 1;
  char name[] = "bitlathe-cli";
  char* argv[] = {name, nullptr};
  const QGuiApplication application(argc, argv);
  QImage image(1000, 500, QImage::Format_RGB32);
  image.fill(Qt::white);
  QPainter painter(&image);
  const QRectF plot(70, 40, 900, 400);
  painter.setPen(QColor(0x33, 0x3d, 0x4a));
  painter.drawText(QRectF(70, 8, 900, 26), Qt::AlignLeft | Qt::AlignVCenter,
                   QString::fromStdString(title));
  const double most = double(*std::max_element(histogram.counts.begin(), histogram.counts.end()));
  const double decades = std::max(1.0, std::ceil(std::log10(std::max(most, 1.0))));
  for (int decade = 0; decade <= int(decades); ++decade) {
    const double y = plot.bottom() - plot.height() * decade / decades;
    painter.setPen(QColor(0xdd, 0xe1, 0xe6));
    painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y));
    painter.setPen(QColor(0x33, 0x3d, 0x4a));
    painter.drawText(QRectF(0, y - 10, plot.left() - 8, 20), Qt::AlignRight | Qt::AlignVCenter,
                     decade == 0 ? "1" : QString("1e%1").arg(decade));
  }
  const auto bins = double(histogram.counts.size());
  for (std::size_t i = 0; i < histogram.counts.size(); ++i)
    if (histogram.counts[i] > 0) {
      // A single value still shows: half a decade tick above the floor.
      const double height =
          (std::log10(double(histogram.counts[i])) + 0.05) / decades * plot.height();
      painter.fillRect(QRectF(plot.left() + plot.width() * double(i) / bins, plot.bottom() - height,
                              plot.width() / bins, height),
                       QColor(0x5b, 0x6b, 0x80));
    }
  for (int tick = 0; tick <= 4; ++tick) {
    const double share = tick / 4.0;
    const double value =
        histogram.edges.front() + (histogram.edges.back() - histogram.edges.front()) * share;
    painter.drawText(QRectF(plot.left() + plot.width() * share - 60, plot.bottom() + 6, 120, 20),
                     Qt::AlignHCenter, QString::number(value, 'g', 4));
  }
  painter.end();
  if (!image.save(QString::fromStdString(path), "PNG"))
    return Error{"io", "Cannot write the picture", path};
  return {};
}

Result<OrderedJson> run(Invocation& invocation) {
  const std::string name = invocation.text("tensor");
  if (name.empty())
    return usage_error("histogram needs --tensor NAME");
  TRY_ASSIGN(const std::int64_t bins, invocation.integer("bins", 256, 1));
  if (bins > 65536)
    return usage_error("--bins is at most 65536");
  TRY_ASSIGN(const auto model, open_model(invocation.arguments[0]));
  const std::string suffix = ".weight";
  const bool has_suffix = name.size() > suffix.size() &&
                          name.compare(name.size() - suffix.size(), suffix.size(), suffix) == 0;
  const Module* module =
      model->find_module(has_suffix ? name.substr(0, name.size() - suffix.size()) : name);
  if (!module)
    return Error{"not-found", "The checkpoint has no tensor \"" + name + "\"; `info` lists them",
                 model->path.string()};
  TRY_ASSIGN(Compute * compute, invocation.compute());
  TRY_ASSIGN(const Histogram histogram,
             weight_histogram(*module, int(bins), *compute, invocation.feedback));
  if (invocation.has("png"))
    TRY(save_png(histogram, module->name + "  (" + std::to_string(histogram.total) + " values)",
                 invocation.text("png")));
  OrderedJson json;
  json["tensor"] = module->name;
  json["edges"] = histogram.edges;
  json["counts"] = histogram.counts;
  json["nan"] = histogram.nan;
  json["inf"] = histogram.inf;
  if (invocation.has("png"))
    json["png"] = invocation.text("png");
  return json;
}

void show(const OrderedJson& json, std::ostream& out) {
  // At most 32 rows of text: neighbouring bins are added up.
  const auto counts = json["counts"].get<std::vector<std::uint64_t>>();
  const auto edges = json["edges"].get<std::vector<double>>();
  const std::size_t rows = std::min<std::size_t>(32, counts.size());
  std::vector<std::uint64_t> merged(rows, 0);
  for (std::size_t i = 0; i < counts.size(); ++i)
    merged[i * rows / counts.size()] += counts[i];
  const double most = std::log1p(double(*std::max_element(merged.begin(), merged.end())));
  out << json["tensor"].get<std::string>() << "  (bars: logarithm of the count)\n";
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t edge = (r * counts.size() + rows - 1) / rows;
    std::string left = show_number(edges[edge]);
    left.resize(12, ' ');
    const auto width = std::size_t(most > 0 ? 60 * std::log1p(double(merged[r])) / most : 0);
    out << left << std::string(width, '#') << "  " << merged[r] << '\n';
  }
  if (json["nan"] > 0 || json["inf"] > 0)
    out << json["nan"] << " NaN, " << json["inf"] << " infinite\n";
}

constexpr VerbOption options[] = {
    {"tensor", "NAME", "Module or tensor name, as `info` shows it."},
    {"bins", "N", "Number of bins (default 256)."},
    {"png", "FILE", "Also save a picture."},
};

} // namespace

extern const Verb verb_histogram;
const Verb verb_histogram{
    "histogram", "MODEL --tensor NAME", "Whole-tensor histogram of a weight.", 1, 1, options, run,
    show};

} // namespace bitlathe
