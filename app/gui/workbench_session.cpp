// SPDX-License-Identifier: GPL-3.0-or-later
// Session files (*.bitlathe): JSON with the checkpoint's path, recipe, result folder, statistics,
// selection, other contenders, figures, and what the stages want kept.
#include "app/gui/workbench_impl.h"

#include <QFileInfo>

namespace bitlathe::gui {

namespace {

/// Opens what a session refers to. Missing results, statistics and contenders are notes; only the
/// checkpoint itself must be there.
Result<OpenedThing> open_session(const fs::path& path) {
  TRY_ASSIGN(Session session, read_session(path));
  OpenedThing out;
  out.session_path = QString::fromStdString(path.string());
  // Relative to the session first, so that a folder with both can be moved.
  const fs::path model = session_path(path, session.checkpoint);
  if (!fs::exists(model))
    return Error{"not-found",
                 "The checkpoint of this session is not there any more: " + session.checkpoint,
                 path.string()};
  TRY_ASSIGN(out.checkpoint, open_checkpoint(model));
  out.recipe = std::move(session.recipe);
  const std::string& result = session.result;
  if (!result.empty()) {
    auto opened = openRun(QString::fromStdString(result));
    if (opened) {
      out.run = std::make_shared<FinishedRun>(std::move(*opened));
    } else {
      out.notes.push_back("The kept result cannot be opened: " + opened.error().text() +
                          ". Quantize again to get it back.");
    }
  }
  const std::string& statistics = session.statistics;
  if (!statistics.empty()) {
    auto read = read_statistics(statistics, *out.checkpoint, &out.notes);
    if (read) {
      out.statistics = std::make_shared<const ActivationStatistics>(std::move(*read));
      out.statistics_path = QString::fromStdString(statistics);
    } else {
      out.notes.push_back("The activation statistics cannot be read: " + read.error().text() +
                          ". Calibrate again to get them back.");
    }
  }
  for (const auto& name : session.selection)
    if (out.checkpoint->find_module(name))
      out.selection.append(QString::fromStdString(name));
  for (const auto& other : session.contenders) {
    auto opened = open_checkpoint(other);
    if (opened)
      out.extra.append({QString::fromStdString((*opened)->name), *opened});
    else
      out.notes.push_back("A compared model cannot be opened: " + opened.error().text());
  }
  if (!session.second.empty()) {
    auto opened = open_checkpoint(session.second);
    if (opened) {
      out.second = *opened;
      out.matcher = std::make_shared<const ModuleMatcher>(*out.checkpoint, *out.second);
    } else {
      out.notes.push_back("The second checkpoint cannot be opened: " + opened.error().text());
    }
  }
  if (session.compare)
    out.compare = std::make_shared<CompareReport>(std::move(*session.compare));
  out.variants = std::move(session.variants);
  for (auto& [id, state] : session.stages)
    out.stages[QString::fromStdString(id)] = std::move(state);
  return out;
}

} // namespace

Result<OpenedThing> openThing(const QString& path, Feedback& feedback) {
  const fs::path where = path.toStdString();
  feedback.set_step(where.filename().string());
  if (is_session(where))
    return open_session(where);
  OpenedThing out;
  TRY_ASSIGN(out.checkpoint, open_checkpoint(where));
  return out;
}

QString Workbench::sessionPath() const { return impl_->session_path; }

bool Workbench::modified() const {
  return impl_->checkpoint && (impl_->dirty || !impl_->undo.isClean());
}

Json Workbench::stageState(const QString& stage) const {
  const auto it = impl_->stages.find(stage);
  return it == impl_->stages.end() ? Json() : it->second;
}

void Workbench::setStageState(const QString& stage, const Json& state) {
  Json& kept = impl_->stages[stage];
  if (kept == state)
    return;
  kept = state;
  impl_->touch();
}

Session Workbench::session() const {
  Session session;
  if (!impl_->checkpoint)
    return session;
  session.checkpoint = fs::absolute(impl_->checkpoint->path).lexically_normal().string();
  session.recipe = impl_->recipe;
  if (impl_->run)
    session.result = impl_->run->folder.toStdString();
  session.statistics = impl_->statistics_path.toStdString();
  for (const auto& name : impl_->selection)
    session.selection.push_back(name.toStdString());
  for (const auto& other : impl_->extra)
    session.contenders.push_back(fs::absolute(other.checkpoint->path).string());
  if (impl_->second)
    session.second = fs::absolute(impl_->second->path).string();
  if (impl_->compare && !impl_->comparing)
    session.compare = *impl_->compare;
  session.variants = impl_->variants;
  for (const auto& [id, state] : impl_->stages)
    session.stages[id.toStdString()] = state;
  return session;
}

bool Workbench::saveSession(const QString& path, QString* error) {
  if (!impl_->checkpoint) {
    *error = tr("There is nothing to save: open a checkpoint first.");
    return false;
  }
  const fs::path where = QFileInfo(path).absoluteFilePath().toStdString();
  if (auto written = write_session(session(), where); !written) {
    *error = QString::fromStdString(written.error().text());
    return false;
  }
  impl_->session_path = QString::fromStdString(where.string());
  impl_->dirty = false;
  impl_->undo.setClean();
  Q_EMIT modifiedChanged();
  return true;
}

} // namespace bitlathe::gui
