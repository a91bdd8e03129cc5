// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/shell/sample_session.h"

#include "app/gui/engine_thread.h"
#include "app/gui/workbench.h"
#include "core/lab/outliers.h"

#include <QDir>
#include <QFileInfo>
#include <QObject>

namespace bitlathe::gui {

namespace {

/// Texts and tasks of the demo model go along, so that everything works on the copy as well.
Result<void> copyTexts(const fs::path& from, const fs::path& to) {
  for (const char* name : {"calibration.txt", "evaluation.txt", "prompts.jsonl", "tasks.jsonl"}) {
    std::error_code problem;
    if (fs::exists(from / name, problem))
      fs::copy_file(from / name, to / name, fs::copy_options::overwrite_existing, problem);
    if (problem)
      return Error{"io", "Cannot copy: " + problem.message(), (to / name).string()};
  }
  return {};
}

void begin(Workbench& workbench) {
  Recipe recipe;
  recipe.default_scheme = "int8-channel-sym";
  recipe.activations = "int8-token-dynamic";
  workbench.setRecipe(recipe, QObject::tr("Naive W8A8"));
  workbench.select({QStringLiteral("model.layers.0.self_attn.q_proj")});
  workbench.startCalibration();
}

} // namespace

QString outlierSampleFolder() {
  return QDir::cleanPath(Workbench::keptFolder() + QStringLiteral("/planted-outliers"));
}

void openOutlierSample(Workbench& workbench, QObject* context,
                       std::function<void(const QString&)> explain) {
  const QString demo = demoModelPath(), folder = outlierSampleFolder();
  workbench.engine().run<QString>(
      QStringLiteral("sample"), QObject::tr("Planting outliers in the demo model"), context,
      [demo, folder](Feedback& feedback, Compute&) -> Result<QString> {
        QDir().mkpath(QFileInfo(folder).absolutePath());
        TRY_ASSIGN(const auto model, open_checkpoint(demo.toStdString()));
        OutlierOptions options;
        options.replace = true;
        TRY(plant_outliers(*model, options, folder.toStdString(), feedback));
        TRY(copyTexts(demo.toStdString(), folder.toStdString()));
        return folder;
      },
      [&workbench, context, explain = std::move(explain)](Result<QString> planted) {
        if (!planted) {
          if (!planted.error().cancelled())
            Q_EMIT workbench.message(int(LogLevel::error),
                                     QString::fromStdString(planted.error().text()));
          return;
        }
        // Only if this is what is opened next.
        auto once = std::make_shared<QMetaObject::Connection>();
        *once = QObject::connect(
            &workbench, &Workbench::opened, context,
            [&workbench, once, explain, folder = *planted] {
              QObject::disconnect(*once);
              const auto& model = workbench.checkpoint();
              if (!model || QString::fromStdString(model->path.string()) != folder)
                return;
              begin(workbench);
              explain(QObject::tr(
                  "This model computes what the demo model does, with 8 channels of every norm "
                  "made 64 times larger: see the activations and channels in Inspect. The "
                  "recipe is naive W8A8: quantize and evaluate, then try the methods "
                  "smoothquant or llm-int8; and int4-g128-asym by rtn, then by awq."));
            });
        workbench.open(*planted);
      });
}

} // namespace bitlathe::gui
