// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/evaluate/quality_card.h"

#include "app/gui/evaluate/evaluation_text.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/save_menu.h"

#include <algorithm>
#include <cmath>
#include <QComboBox>
#include <QMenu>
#include <QPushButton>
#include <QToolButton>

namespace bitlathe::gui {
namespace {

bool same(const std::string& a, const fs::path& b) {
  return fs::path(a).lexically_normal() == b.lexically_normal();
}

double bits(std::uint64_t bytes, const Checkpoint& source) {
  const auto parameters = source.parameters();
  return parameters > 0 ? 8.0 * double(bytes) / double(parameters) : 0;
}

QualityPoint pointOf(const CompareResult& m, const Checkpoint& source) {
  QualityPoint p;
  p.bytes = m.bytes;
  p.bitsPerWeight = bits(m.bytes, source);
  p.perplexity = m.perplexity;
  p.perplexityError = m.perplexity_stderr;
  p.kl = m.kld_mean;
  p.klError = m.kld_stderr;
  const double miss = 1 - m.top1_agreement;
  p.misses = 100 * miss;
  p.missesError = m.tokens > 0 ? 100 * std::sqrt(miss * (1 - miss) / double(m.tokens)) : 0;
  return p;
}

bool drawable(const QualityPoint& p) {
  return p.bytes > 0 && std::isfinite(p.perplexity) && std::isfinite(p.kl);
}

} // namespace

QualityPoints qualityPoints(const Workbench& workbench) {
  QualityPoints out;
  const auto& source = workbench.checkpoint();
  if (!source)
    return out;
  const auto& variants = workbench.variants();
  const CompareReport* report = workbench.compareReport();
  out.on = workbench.judgedOn();
  if (out.on.isEmpty()) // the text that most is known on
    for (const SessionVariant& variant : variants)
      if (variant.figures)
        out.on = QString::fromStdString(variant.judged_on);
  QualityPoint original;
  original.title = QualityCard::tr("original");
  original.kind = QualityPoint::Kind::original;
  original.color = 0;
  original.bytes = source->bytes();
  original.bitsPerWeight = bits(original.bytes, *source);
  if (report) {
    out.noiseFloor = report->noise_floor;
    original.perplexity = report->reference_perplexity;
    original.perplexityError = report->reference_stderr;
  }
  QList<QualityPoint> found;
  std::vector<bool> used(report ? report->models.size() : 0);
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const SessionVariant& variant = variants[i];
    const CompareResult* figures = nullptr;
    for (std::size_t m = 0; m < used.size(); ++m)
      if (!variant.result.empty() && same(report->models[m].path, variant.result)) {
        used[m] = true;
        if (report->models[m].tokens > 0)
          figures = &report->models[m];
      }
    if (!figures && variant.figures && variant.judged_on == out.on.toStdString())
      figures = &*variant.figures;
    if (!figures) {
      if (workbench.variantKept(int(i)))
        out.missing.push_back(int(i));
      else
        ++out.lost;
      continue;
    }
    QualityPoint p = pointOf(*figures, *source);
    p.title = QString::fromStdString(variant.title);
    p.kind = variant.baseline ? QualityPoint::Kind::baseline : QualityPoint::Kind::variant;
    p.variant = int(i);
    p.current = int(i) == workbench.currentVariant();
    if (!report) {
      original.perplexity = figures->reference_perplexity;
      out.noiseFloor = variant.noise_floor;
    }
    if (drawable(p))
      found.push_back(p);
  }
  // Other checkpoints that were measured along.
  const auto contenders = workbench.contenders();
  for (std::size_t m = 0; m < used.size(); ++m)
    if (!used[m] && report->models[m].tokens > 0)
      for (int c = 1; c < contenders.size(); ++c)
        if (same(report->models[m].path, contenders[c].checkpoint->path)) {
          QualityPoint p = pointOf(report->models[m], *source);
          p.title = contenders[c].title;
          p.kind = QualityPoint::Kind::other;
          p.color = c;
          if (drawable(p))
            found.push_back(p);
          break;
        }
  if (original.perplexity > 0 && std::isfinite(original.perplexity))
    out.points.push_back(original);
  out.points += found;
  return out;
}

QStringList QualityCard::usualBaselines() {
  return {QStringLiteral("int8-channel-sym"), QStringLiteral("int6-g128-asym"),
          QStringLiteral("int5-g128-asym"),   QStringLiteral("int4-g128-asym"),
          QStringLiteral("int3-g128-asym"),   QStringLiteral("int2-g64-asym")};
}

QualityCard::QualityCard(Workbench& workbench, QWidget* parent)
    : Card(tr("Quality / size"),
           tr("Each point is a quantization of this session; bars are one standard error to each "
              "side. Lower and further left is better. Click a point to load its recipe"),
           parent),
      workbench_(workbench) {
  chart_ = new QualityChart(this);
  chart_->setAccessibleName(tr("Quality / size"));
  connect(chart_, &QualityChart::variantClicked, &workbench_, &Workbench::loadVariantRecipe);

  missing_ = new QPushButton(this);
  missing_->setToolTip(
      tr("Measure them too: variants whose results are kept, but which were not measured on this "
         "text: measures them one after the other"));
  connect(missing_, &QPushButton::clicked, this, &QualityCard::measureMissing);
  addTool(missing_);
  stop_ = new QPushButton(tr("Stop"), this);
  stop_->setToolTip(tr("Stops measuring; what is measured already stays"));
  connect(stop_, &QPushButton::clicked, this, &QualityCard::stop);
  addTool(stop_);
  baselines_ = new QToolButton(this);
  baselines_->setText(tr("Baselines \u25be"));
  baselines_->setToolTip(
      tr("Quantizes everything with one scheme by rtn and measures that on the same text, so that "
         "a variant can be held against the plain choice of its size. The results themselves are "
         "removed again"));
  baselines_->setPopupMode(QToolButton::InstantPopup);
  auto* menu = new QMenu(baselines_);
  menu->addAction(tr("Measure six usual schemes"), [this] { measureBaselines(usualBaselines()); });
  menu->addSeparator();
  QStringList schemes = usualBaselines();
  for (const char* more : {"int4-g32-asym", "nf4-b64", "q8_0", "q4_0", "q4_k"})
    schemes.append(QString::fromLatin1(more));
  for (const QString& scheme : schemes)
    if (parse_scheme(scheme.toStdString()))
      menu->addAction(scheme, [this, scheme] { measureBaselines({scheme}); });
  baselines_->setMenu(menu);
  addTool(baselines_);
  measure_ = new QComboBox(this);
  measure_->addItems({tr("Perplexity"), tr("KL divergence"), tr("Top-1 misses")});
  measure_->setAccessibleName(tr("Quality measure"));
  measure_->setToolTip(tr("What the chart shows upwards; all three: lower is better"));
  log_ = new QToolButton(this);
  log_->setText(tr("log"));
  log_->setCheckable(true);
  log_->setToolTip(tr("Draws equal ratios as equal distances: KL divergences of 8 and of 2 bits "
                      "lie a thousandfold apart"));
  connect(log_, &QToolButton::toggled, chart_, &QualityChart::setLogarithmic);
  connect(measure_, &QComboBox::currentIndexChanged, this, [this](int index) {
    chart_->setMeasure(QualityChart::Measure(index));
    log_->setChecked(index != 0);
  });
  measure_->setCurrentIndex(int(QualityChart::Measure::kl));
  addTool(measure_);
  addTool(log_);
  const auto csv = [this] { return chart_->csv(); };
  addPictureMenu(chart_, QStringLiteral("quality-against-size"), csv);
  addTool(makePictureButton(chart_, QStringLiteral("quality-against-size"), csv, this));
  addBody(chart_);

  for (const auto signal :
       {&Workbench::opened, &Workbench::variantsChanged, &Workbench::compareChanged,
        &Workbench::contendersChanged, &Workbench::resultsChanged})
    connect(&workbench_, signal, this, &QualityCard::refresh);
  connect(&EvaluationText::of(workbench_), &EvaluationText::changed, this, &QualityCard::refresh);
  refresh();
}

void QualityCard::refresh() {
  const QualityPoints known = qualityPoints(workbench_);
  chart_->setPoints(known.points, known.noiseFloor);
  const bool busy = workbench_.measuringVariants() || reading_;
  const auto& model = workbench_.checkpoint();
  const bool able = model && model->spec && model->tokenizer && !workbench_.comparing() &&
                    !EvaluationText::of(workbench_).choice().path.isEmpty();
  missing_->setText(tr("+ %1").arg(known.missing.size()));
  missing_->setAccessibleName(tr("Measure %n more variants", nullptr, int(known.missing.size())));
  missing_->setVisible(!known.missing.isEmpty() && able && !busy);
  baselines_->setVisible(!busy);
  baselines_->setEnabled(able);
  stop_->setVisible(busy);
  setReadout(known.lost > 0 ? tr("%n without figures here", nullptr, known.lost) : QString());
}

void QualityCard::measureBaselines(const QStringList& schemes) {
  QStringList wanted;
  const QString on = qualityPoints(workbench_).on;
  for (const QString& scheme : schemes) {
    const auto& all = workbench_.variants();
    const bool there = std::any_of(all.begin(), all.end(), [&](const SessionVariant& variant) {
      return variant.baseline && variant.figures && variant.judged_on == on.toStdString() &&
             variant.recipe.default_scheme == scheme.toStdString();
    });
    if (!there || schemes.size() == 1)
      wanted.append(scheme);
  }
  if (wanted.isEmpty())
    Q_EMIT workbench_.message(int(LogLevel::info),
                              tr("All of these baselines are measured on this text already."));
  else
    start({}, wanted);
}

void QualityCard::measureMissing() { start(qualityPoints(workbench_).missing, {}); }

void QualityCard::start(const QList<int>& variants, const QStringList& schemes) {
  if (reading_ || workbench_.measuringVariants())
    return;
  reading_ = true;
  EvaluationText::of(workbench_)
      .read(QStringLiteral("variants"), this,
            [this, variants, schemes](Result<EvaluationText::Judged> judged) {
              reading_ = false;
              if (judged) {
                const QString on = QString::fromStdString(judged_on(**judged));
                if (const QString shown = qualityPoints(workbench_).on;
                    !shown.isEmpty() && shown != on)
                  Q_EMIT workbench_.message(
                      int(LogLevel::warning),
                      tr("Variants are now measured on %1; the chart shows %2 until the models of "
                         "the table are measured on it too.")
                          .arg(on, shown));
                workbench_.startVariants(*judged, variants, schemes);
              } else if (!judged.error().cancelled())
                Q_EMIT workbench_.message(int(LogLevel::error),
                                          QString::fromStdString(judged.error().text()));
              refresh();
            });
  refresh();
}

void QualityCard::stop() {
  for (const JobStatus& status : workbench_.engine().jobs())
    if (status.tag == Workbench::variantsTag())
      workbench_.engine().cancel(status.id);
}

} // namespace bitlathe::gui
