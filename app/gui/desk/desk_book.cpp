// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/desk/desk_book.h"

#include <algorithm>

namespace bitlathe::gui {
namespace {

const QString session_key = QStringLiteral("desk");

} // namespace

DeskBook* DeskBook::of(Workbench& workbench) {
  if (auto* found = workbench.findChild<DeskBook*>({}, Qt::FindDirectChildrenOnly))
    return found;
  return new DeskBook(workbench);
}

DeskBook::DeskBook(Workbench& workbench) : QObject(&workbench), workbench_(workbench) {
  connect(&workbench_, &Workbench::opened, this, [this] {
    restore();
    Q_EMIT reopened();
    Q_EMIT changed();
  });
  restore();
}

void DeskBook::restore() {
  std::vector<std::string> notes;
  desks_ = desks_from_json(workbench_.stageState(session_key), &notes);
  for (const std::string& note : notes)
    say(int(LogLevel::warning), QString::fromStdString(note));
}

void DeskBook::keep() {
  workbench_.setStageState(session_key, Json(desks_to_json(desks_)));
  Q_EMIT changed();
}

DeskMaterial DeskBook::material() const {
  return desk_material(transcripts_from_json(workbench_.stageState(QStringLiteral("transcripts"))));
}

void DeskBook::add(Desk desk) {
  desks_.push_back(std::move(desk));
  keep();
}

void DeskBook::choose(std::size_t index) {
  if (index + 1 >= desks_.size())
    return;
  std::rotate(desks_.begin() + std::ptrdiff_t(index), desks_.begin() + std::ptrdiff_t(index) + 1,
              desks_.end());
  keep();
}

void DeskBook::remove(std::size_t index) {
  if (index >= desks_.size())
    return;
  desks_.erase(desks_.begin() + std::ptrdiff_t(index));
  keep();
}

void DeskBook::change(const std::function<void(Desk&)>& edit) {
  if (desks_.empty())
    return;
  edit(desks_.back());
  keep();
}

} // namespace bitlathe::gui
