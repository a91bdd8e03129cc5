// SPDX-License-Identifier: GPL-3.0-or-later
// The quantizations that a session has seen: their recipes, kept results and figures; and uniform
// baselines to compare them with.
#include "app/gui/workbench_impl.h"

#include <algorithm>
#include <QDateTime>
#include <QDir>
#include <QFileInfo>

namespace bitlathe::gui {

namespace {

QString absolute(const QString& path) { return QFileInfo(path).absoluteFilePath(); }
QString absolute(const std::string& path) { return absolute(QString::fromStdString(path)); }

std::string now() {
  const QDateTime time = QDateTime::currentDateTime();
  return time.toOffsetFromUtc(time.offsetFromUtc()).toString(Qt::ISODate).toStdString();
}

/// A folder inside the one for kept results that holds one: nothing else is ever removed.
bool may_be_removed(const QString& folder) {
  const QString root = QDir::cleanPath(absolute(Workbench::keptFolder())) + '/';
  return QDir::cleanPath(absolute(folder)).startsWith(root) &&
         QFileInfo(folder + QStringLiteral("/result.json")).isFile();
}

/// One scheme for everything that is quantized by default.
Recipe baseline_recipe(const std::string& scheme) {
  Recipe recipe;
  recipe.default_scheme = scheme;
  recipe.default_method = "rtn";
  recipe.activations = "none";
  return recipe;
}

SessionVariant variant_of(const FinishedRun& run) {
  SessionVariant out;
  out.title = recipeTitle(run.recipe).toStdString();
  out.result = run.folder.toStdString();
  out.recipe = run.recipe;
  out.bytes = run.checkpoint->bytes();
  out.bits_per_weight = run.summary.bits_per_weight;
  out.seconds = run.summary.seconds;
  out.made = now();
  return out;
}

/// Runs the original beside one model after the other, on the same text.
class VariantMeasuring {
 public:
  VariantMeasuring(CheckpointPtr source, Compute& compute, const JudgedFile& judged,
                   Feedback& feedback)
      : source_(std::move(source)), compute_(compute), judged_(judged), feedback_(feedback),
        on_(judged_on(judged)) {}

  Result<void> open() {
    feedback_.set_step("loading the original");
    TRY_ASSIGN(reference_, Engine::create(source_, compute_));
    return {};
  }

  /// Puts figures of a model into its variant.
  Result<void> measure(const CheckpointPtr& model, SessionVariant& variant) {
    TRY_ASSIGN(const auto engine, Engine::create(model, compute_));
    std::unique_ptr<Engine> rounded; // the floor is the same for all
    if (!floor_) {
      EngineOptions options;
      options.round_weights_to_f16 = true;
      TRY_ASSIGN(rounded, Engine::create(source_, compute_, options));
    }
    Engine* const candidates[] = {engine.get()};
    TRY_ASSIGN(CompareReport report,
               compare(*reference_, candidates, rounded.get(), judged_.text, feedback_));
    if (rounded)
      floor_ = report.noise_floor;
    variant.figures = std::move(report.models.front());
    for (auto& note : overlap_notes(model->path, judged_, variant.title))
      variant.figures->notes.push_back(std::move(note));
    variant.judged_on = on_;
    variant.noise_floor = *floor_;
    return {};
  }

 private:
  const CheckpointPtr source_;
  Compute& compute_;
  const JudgedFile& judged_;
  Feedback& feedback_;
  const std::string on_;
  std::unique_ptr<Engine> reference_;
  std::optional<double> floor_;
};

/// Quantizes by a baseline's recipe into `folder`, which is removed again.
Result<SessionVariant> make_baseline(const CheckpointPtr& source, const Recipe& recipe,
                                     const QString& folder, Compute& compute, Feedback& feedback,
                                     VariantMeasuring& measuring) {
  struct Removed {
    QString folder;
    ~Removed() { QDir(folder).removeRecursively(); }
  } removed{folder};
  TRY_ASSIGN(const Plan plan, make_plan(*source, recipe, true));
  QuantizeOptions options;
  options.result_folder = folder.toStdString();
  FinishedRun run;
  run.recipe = recipe;
  run.folder = folder;
  TRY_ASSIGN(run.summary, run_quantize(*source, plan, compute, options, feedback));
  TRY_ASSIGN(run.checkpoint, open_checkpoint(options.result_folder));
  SessionVariant variant = variant_of(run);
  variant.baseline = true;
  variant.result.clear();
  TRY(measuring.measure(run.checkpoint, variant));
  return variant;
}

} // namespace

QString recipeTitle(const Recipe& recipe) {
  QString title = QString::fromStdString(recipe.default_scheme) + ' ' +
                  QString::fromStdString(recipe.default_method);
  if (!recipe.rules.empty())
    title += Workbench::tr(" + %n rules", nullptr, int(recipe.rules.size()));
  if (recipe.activations != "none" && recipe.activations != "auto")
    title += QStringLiteral(", ") + QString::fromStdString(recipe.activations);
  return title;
}

Result<FinishedRun> openRun(const QString& folder) {
  FinishedRun run;
  TRY_ASSIGN(KeptResult kept, read_result(folder.toStdString()));
  TRY_ASSIGN(run.checkpoint, open_checkpoint(folder.toStdString()));
  run.recipe = std::move(kept.recipe);
  run.summary = std::move(kept.summary);
  run.folder = folder;
  return run;
}

QString Workbench::variantsTag() { return QStringLiteral("variants"); }
const std::vector<SessionVariant>& Workbench::variants() const { return impl_->variants; }
bool Workbench::measuringVariants() const { return impl_->measuring_variants; }

int Workbench::currentVariant() const {
  if (!impl_->run)
    return -1;
  const auto& all = impl_->variants;
  const auto it = std::find_if(all.begin(), all.end(), [&](const SessionVariant& variant) {
    return !variant.result.empty() && absolute(variant.result) == absolute(impl_->run->folder);
  });
  return it == all.end() ? -1 : int(it - all.begin());
}

bool Workbench::variantKept(int index) const {
  if (index < 0 || index >= int(impl_->variants.size()))
    return false;
  const std::string& folder = impl_->variants[std::size_t(index)].result;
  return !folder.empty() && QFileInfo::exists(QString::fromStdString(folder) + "/result.json");
}

QString Workbench::judgedOn() const {
  const Json judged = judgedText();
  const auto it = judged.is_object() ? judged.find("on") : judged.end();
  return it != judged.end() && it->is_string() ? QString::fromStdString(it->get<std::string>())
                                               : QString();
}

Json Workbench::judgedText() const { return stageState(judged_key); }

void Workbench::Impl::addVariant(const FinishedRun& finished) {
  SessionVariant added = variant_of(finished);
  for (SessionVariant& variant : variants) {
    if (variant.result == added.result)
      return;
    if (variant.baseline || !(variant.recipe == added.recipe))
      continue;
    added.title = variant.title; // made again
    variant = std::move(added);
    return;
  }
  const auto taken = [&](const std::string& title) {
    return std::any_of(variants.begin(), variants.end(), [&](const SessionVariant& variant) {
      return !variant.baseline && variant.title == title;
    });
  };
  const std::string title = added.title;
  for (int count = 2; taken(added.title); ++count)
    added.title = title + " (" + std::to_string(count) + ")";
  variants.push_back(std::move(added));
}

void Workbench::Impl::takeVariant(SessionVariant measured) {
  for (SessionVariant& variant : variants) {
    const bool same = measured.baseline
                          ? variant.baseline && variant.recipe == measured.recipe
                          : !measured.result.empty() && variant.result == measured.result;
    if (!same)
      continue;
    measured.title = variant.title;
    variant = std::move(measured);
    return;
  }
  if (measured.baseline) // others were removed meanwhile
    variants.push_back(std::move(measured));
}

void Workbench::Impl::takeFigures() {
  const std::string on = owner->judgedOn().toStdString();
  for (const CompareResult& model : compare->models)
    for (SessionVariant& variant : variants)
      if (!variant.result.empty() && absolute(variant.result) == absolute(model.path)) {
        variant.figures = model;
        variant.judged_on = on;
        variant.noise_floor = compare->noise_floor;
      }
}

void Workbench::loadVariantRecipe(int index) {
  if (index < 0 || index >= int(impl_->variants.size()))
    return;
  const SessionVariant& variant = impl_->variants[std::size_t(index)];
  const QString title = QString::fromStdString(variant.title);
  if (variant.recipe == impl_->recipe) {
    Q_EMIT message(int(LogLevel::info), tr("The recipe is that of %1 already.").arg(title));
    return;
  }
  setRecipe(variant.recipe, tr("Recipe of %1").arg(title));
  Q_EMIT message(int(LogLevel::info),
                 tr("The recipe of %1 is loaded; undo brings the former one back.").arg(title));
}

void Workbench::makeVariantCurrent(int index) {
  if (!variantKept(index) || impl_->quantizing || index == currentVariant())
    return;
  const QString folder = QString::fromStdString(impl_->variants[std::size_t(index)].result);
  impl_->engine.run<FinishedRun>(
      QStringLiteral("variant"),
      tr("Opening %1").arg(QString::fromStdString(impl_->variants[std::size_t(index)].title)), this,
      [folder](Feedback&, Compute&) { return openRun(folder); },
      impl_->whileOpen<FinishedRun>([this](Result<FinishedRun> opened_run) {
        if (!opened_run) {
          if (!opened_run.error().cancelled())
            Q_EMIT message(int(LogLevel::error), QString::fromStdString(opened_run.error().text()));
          return;
        }
        if (impl_->quantizing)
          return;
        impl_->run = std::make_shared<FinishedRun>(std::move(*opened_run));
        impl_->summary = impl_->run->summary;
        impl_->module_results = impl_->run->summary.modules;
        // What is known of it on the same text belongs into the table of figures.
        const int current = currentVariant();
        if (impl_->compare && !impl_->comparing && current >= 0) {
          const SessionVariant& variant = impl_->variants[std::size_t(current)];
          auto& models = impl_->compare->models;
          const bool there = std::any_of(models.begin(), models.end(), [&](const auto& model) {
            return absolute(model.path) == absolute(variant.result);
          });
          if (variant.figures && variant.judged_on == judgedOn().toStdString() && !there)
            models.insert(models.begin(), *variant.figures);
        }
        impl_->touch();
        Q_EMIT resultsChanged();
        Q_EMIT contendersChanged();
        Q_EMIT compareChanged();
        Q_EMIT variantsChanged();
      }));
}

void Workbench::renameVariant(int index, const QString& title) {
  if (index < 0 || index >= int(impl_->variants.size()) || title.trimmed().isEmpty())
    return;
  std::string& kept = impl_->variants[std::size_t(index)].title;
  if (kept == title.trimmed().toStdString())
    return;
  kept = title.trimmed().toStdString();
  impl_->touch();
  Q_EMIT variantsChanged();
  Q_EMIT contendersChanged();
}

void Workbench::removeVariant(int index, bool clean) {
  if (index < 0 || index >= int(impl_->variants.size()))
    return;
  const bool current = index == currentVariant();
  const QString folder = QString::fromStdString(impl_->variants[std::size_t(index)].result);
  const bool kept = variantKept(index);
  impl_->variants.erase(impl_->variants.begin() + index);
  impl_->touch();
  if (clean && kept && !may_be_removed(folder)) {
    Q_EMIT message(int(LogLevel::warning),
                   tr("%1 is not in the folder for kept results and stays.").arg(folder));
  } else if (clean && kept) {
    if (current) {
      impl_->run.reset();
      impl_->summary.reset();
      impl_->module_results.clear();
    }
    impl_->extra.removeIf([&](const Contender& other) {
      return absolute(other.checkpoint->path.string()) == absolute(folder);
    });
    impl_->engine.run<bool>(
        QStringLiteral("remove:") + folder, tr("Removing a kept result"), this,
        [folder](Feedback&, Compute&) -> Result<bool> {
          if (!QDir(folder).removeRecursively())
            return Error{"io", "Cannot remove a kept result", folder.toStdString()};
          return true;
        },
        [this](Result<bool> removed) {
          if (!removed && !removed.error().cancelled())
            Q_EMIT message(int(LogLevel::error), QString::fromStdString(removed.error().text()));
        });
    Q_EMIT resultsChanged();
  }
  Q_EMIT variantsChanged();
  Q_EMIT contendersChanged();
}

void Workbench::startVariants(std::shared_ptr<const JudgedFile> judged, const QList<int>& variants,
                              const QStringList& baselines) {
  const auto model = impl_->checkpoint;
  if (!model || !judged || impl_->measuring_variants)
    return;
  std::vector<SessionVariant> kept;
  for (const int index : variants)
    if (variantKept(index))
      kept.push_back(impl_->variants[std::size_t(index)]);
  std::vector<std::pair<Recipe, QString>> made;
  for (const QString& scheme : baselines)
    made.push_back({baseline_recipe(scheme.toStdString()),
                    impl_->freshFolder(QStringLiteral("-baseline-%1").arg(made.size()))});
  if (kept.empty() && made.empty())
    return;
  impl_->measuring_variants = true;
  Q_EMIT variantsChanged();
  impl_->engine.run<std::vector<std::string>>(
      variantsTag(), tr("Measuring variants"), this,
      [this, model, judged, kept = std::move(kept), made = std::move(made)](
          Feedback& feedback, Compute& compute) -> Result<std::vector<std::string>> {
        VariantMeasuring measuring(model, compute, *judged, feedback);
        TRY(measuring.open());
        std::vector<std::string> problems;
        std::size_t number = 0;
        const auto begin = [&](const std::string& title) {
          feedback.set_step(title + ", " + std::to_string(++number) + " of " +
                            std::to_string(kept.size() + made.size()));
        };
        const auto keep = [&](SessionVariant variant) {
          const std::lock_guard lock(impl_->incoming_mutex);
          impl_->incoming_variants.push_back(std::move(variant));
        };
        for (SessionVariant variant : kept) {
          begin(variant.title);
          auto opened = open_checkpoint(variant.result);
          const auto done =
              opened ? measuring.measure(*opened, variant) : Result<void>(opened.error());
          if (done)
            keep(std::move(variant));
          else if (done.error().cancelled())
            return done.error();
          else
            problems.push_back(variant.title + ": " + done.error().text());
        }
        for (const auto& [recipe, folder] : made) {
          begin(recipe.default_scheme);
          QDir().mkpath(QFileInfo(folder).absolutePath());
          auto variant = make_baseline(model, recipe, folder, compute, feedback, measuring);
          if (variant)
            keep(std::move(*variant));
          else if (variant.error().cancelled())
            return variant.error();
          else
            problems.push_back(recipe.default_scheme + ": " + variant.error().text());
        }
        return problems;
      },
      impl_->whileOpen<std::vector<std::string>>([this](Result<std::vector<std::string>> done) {
        impl_->drain();
        impl_->measuring_variants = false;
        if (done) {
          for (const std::string& problem : *done)
            Q_EMIT message(int(LogLevel::warning),
                           tr("Not measured: %1").arg(QString::fromStdString(problem)));
        } else if (!done.error().cancelled()) {
          Q_EMIT message(int(LogLevel::error), QString::fromStdString(done.error().text()));
        }
        Q_EMIT variantsChanged();
      }));
}

} // namespace bitlathe::gui
