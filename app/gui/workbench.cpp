// SPDX-License-Identifier: GPL-3.0-or-later
// Opening, recipe with undo, plan, selection. Jobs are in workbench_jobs.cpp, sessions in
// workbench_session.cpp.
#include "app/gui/workbench_impl.h"

#include <QCoreApplication>
#include <QDir>
#include <QFileInfo>
#include <QUndoCommand>

namespace bitlathe::gui {

QString demoModelPath() {
  const QString program = QCoreApplication::applicationDirPath();
  for (const QString& path :
       {program + "/../share/bitlathe/demo", program + "/../../../resources/demo",
        QStringLiteral(BITLATHE_SOURCE_DIR "/resources/demo")})
    if (QFileInfo::exists(path + "/config.json"))
      return QDir(path).canonicalPath();
  return {};
}

namespace {

class RecipeCommand : public QUndoCommand {
 public:
  RecipeCommand(std::function<void(const Recipe&)> apply, Recipe before, Recipe after,
                const QString& what)
      : QUndoCommand(what), apply_(std::move(apply)), before_(std::move(before)),
        after_(std::move(after)) {}
  void undo() override { apply_(before_); }
  void redo() override { apply_(after_); }

 private:
  std::function<void(const Recipe&)> apply_;
  Recipe before_, after_;
};

/// The rule that names exactly this module; made at the end when there is none.
Rule& own_rule(Recipe& recipe, const std::string& module) {
  for (auto it = recipe.rules.rbegin(); it != recipe.rules.rend(); ++it)
    if (it->match == module)
      return *it;
  Rule rule;
  rule.match = module;
  recipe.rules.push_back(rule);
  return recipe.rules.back();
}

QString short_list(const QStringList& modules) {
  return modules.size() == 1 ? modules.first()
                             : Workbench::tr("%n modules", nullptr, int(modules.size()));
}

} // namespace

Workbench::Workbench(QObject* parent) : QObject(parent), impl_(std::make_unique<Impl>(this)) {
  connect(&impl_->engine, &EngineThread::progressed, this, [this] { impl_->drain(); });
  connect(&impl_->undo, &QUndoStack::cleanChanged, this, &Workbench::modifiedChanged);
}

Workbench::~Workbench() = default;

EngineThread& Workbench::engine() { return impl_->engine; }
QUndoStack& Workbench::undoStack() { return impl_->undo; }
const CheckpointPtr& Workbench::checkpoint() const { return impl_->checkpoint; }

void Workbench::open(const QString& path) {
  const QString where = QFileInfo(path).absoluteFilePath();
  Q_EMIT opening(where);
  impl_->engine.run<OpenedThing>(
      QStringLiteral("open"), tr("Opening %1").arg(QFileInfo(where).fileName()), this,
      [where](Feedback& feedback, Compute&) { return openThing(where, feedback); },
      [this](Result<OpenedThing> opened_thing) {
        if (opened_thing)
          impl_->adopt(std::move(*opened_thing));
        else if (!opened_thing.error().cancelled())
          Q_EMIT openFailed(QString::fromStdString(opened_thing.error().text()));
      });
}

void Workbench::Impl::reset() {
  for (const auto& job : engine.jobs())
    if (job.state == JobState::queued || job.state == JobState::running)
      engine.cancel(job.id);
  undo.clear();
  plan.reset();
  plan_error.clear();
  requantize = false;
  selection.clear();
  statistics.reset();
  statistics_path.clear();
  calibrating = quantizing = comparing = measuring_variants = false;
  module_results.clear();
  summary.reset();
  run.reset();
  {
    const std::lock_guard lock(incoming_mutex);
    incoming.clear();
    incoming_compare.reset();
    incoming_variants.clear();
    incoming_judged = nullptr;
  }
  variants.clear();
  extra.clear();
  second.reset();
  matcher.reset();
  compare.reset();
  exports.clear();
  session_path.clear();
  stages.clear();
  dirty = false;
}

void Workbench::Impl::adopt(OpenedThing thing) {
  reset();
  checkpoint = std::move(thing.checkpoint);
  recipe = std::move(thing.recipe);
  session_path = thing.session_path;
  statistics = thing.statistics;
  statistics_path = thing.statistics_path;
  extra = thing.extra;
  second = thing.second;
  matcher = thing.matcher;
  stages = std::move(thing.stages);
  run = thing.run;
  if (run) {
    summary = run->summary;
    module_results = run->summary.modules;
  }
  if (thing.compare)
    compare = *thing.compare;
  variants = std::move(thing.variants);
  if (run)
    addVariant(*run); // sessions of before there were variants
  selection = thing.selection;
  if (selection.isEmpty()) // something to look at: the first matrix of the first block
    for (const auto& module : checkpoint->modules)
      if (module.linear) {
        selection = {QString::fromStdString(module.name)};
        break;
      }
  replan();
  Q_EMIT owner->opened();
  Q_EMIT owner->recipeChanged();
  Q_EMIT owner->planChanged();
  Q_EMIT owner->selectionChanged();
  Q_EMIT owner->statisticsChanged();
  Q_EMIT owner->resultsChanged();
  Q_EMIT owner->contendersChanged();
  Q_EMIT owner->variantsChanged();
  Q_EMIT owner->secondChanged();
  Q_EMIT owner->compareChanged();
  Q_EMIT owner->modifiedChanged();
  for (const auto& note : checkpoint->notes)
    Q_EMIT owner->message(int(LogLevel::info), QString::fromStdString(note));
  for (const auto& note : thing.notes)
    Q_EMIT owner->message(int(LogLevel::warning), QString::fromStdString(note));
}

void Workbench::Impl::touch() {
  if (dirty)
    return;
  dirty = true;
  Q_EMIT owner->modifiedChanged();
}

const Recipe& Workbench::recipe() const { return impl_->recipe; }

void Workbench::setRecipe(const Recipe& recipe, const QString& what) {
  if (recipe == impl_->recipe)
    return;
  impl_->undo.push(new RecipeCommand([this](const Recipe& next) { impl_->applyRecipe(next); },
                                     impl_->recipe, recipe, what));
}

void Workbench::Impl::applyRecipe(const Recipe& next) {
  recipe = next;
  replan();
  Q_EMIT owner->recipeChanged();
  Q_EMIT owner->planChanged();
}

void Workbench::Impl::replan() {
  plan.reset();
  plan_error.clear();
  if (!checkpoint)
    return;
  auto made = make_plan(*checkpoint, recipe, requantize, statistics != nullptr);
  if (made)
    plan.emplace(std::move(*made));
  else
    plan_error = QString::fromStdString(made.error().text());
}

void Workbench::setModules(const QStringList& modules, const QString& scheme,
                           const QString& method) {
  if (modules.isEmpty() || (scheme.isEmpty() && method.isEmpty()))
    return;
  Recipe next = impl_->recipe;
  for (const auto& module : modules) {
    const std::string name = module.toStdString();
    std::erase(next.exclude, name); // choosing a precision takes a module back in
    Rule& rule = own_rule(next, name);
    if (!scheme.isEmpty())
      rule.scheme = scheme.toStdString();
    if (!method.isEmpty() && rule.method != method.toStdString()) {
      rule.method = method.toStdString();
      rule.params = Json::object();
    }
  }
  setRecipe(next, scheme.isEmpty() ? tr("%1: %2").arg(short_list(modules), method)
                                   : tr("%1: %2").arg(short_list(modules), scheme));
  if (!impl_->plan)
    return;
  QStringList still_excluded;
  for (const auto& module : modules)
    if (const auto* planned = impl_->plan->find(module.toStdString());
        planned && planned->reason_kind == "excluded")
      still_excluded.append(module);
  if (!still_excluded.isEmpty())
    Q_EMIT message(int(LogLevel::warning),
                   tr("%1 stays excluded by a pattern of the recipe; remove it on the Plan stage.")
                       .arg(short_list(still_excluded)));
}

void Workbench::setExcluded(const QStringList& modules, bool excluded) {
  Recipe next = impl_->recipe;
  for (const auto& module : modules) {
    std::erase(next.exclude, module.toStdString());
    if (excluded)
      next.exclude.push_back(module.toStdString());
  }
  if (!excluded && impl_->checkpoint)
    if (const auto without =
            make_plan(*impl_->checkpoint, next, impl_->requantize, impl_->statistics != nullptr))
      for (const auto& module : modules) {
        // Embedding, head and the like keep their type unless a rule asks for more.
        const PlannedModule* planned = without->find(module.toStdString());
        if (!planned || planned->quantize || planned->rows < 2)
          continue;
        Rule& rule = own_rule(next, planned->name);
        rule.scheme = next.default_scheme;
        rule.method = next.default_method;
      }
  setRecipe(next, excluded ? tr("Exclude %1").arg(short_list(modules))
                           : tr("Include %1").arg(short_list(modules)));
}

void Workbench::resetModules(const QStringList& modules) {
  Recipe next = impl_->recipe;
  for (const auto& module : modules) {
    const std::string name = module.toStdString();
    std::erase(next.exclude, name);
    std::erase_if(next.rules, [&](const Rule& rule) { return rule.match == name; });
  }
  setRecipe(next, tr("Reset %1").arg(short_list(modules)));
}

const Plan* Workbench::plan() const { return impl_->plan ? &*impl_->plan : nullptr; }
QString Workbench::planError() const { return impl_->plan_error; }
bool Workbench::requantizeAllowed() const { return impl_->requantize; }

void Workbench::setRequantizeAllowed(bool allowed) {
  if (allowed == impl_->requantize)
    return;
  impl_->requantize = allowed;
  impl_->replan();
  Q_EMIT planChanged();
}

const QStringList& Workbench::selection() const { return impl_->selection; }
QString Workbench::current() const { return impl_->selection.value(0); }

void Workbench::select(const QStringList& modules) {
  if (modules == impl_->selection)
    return;
  impl_->selection = modules;
  Q_EMIT selectionChanged();
}

} // namespace bitlathe::gui
