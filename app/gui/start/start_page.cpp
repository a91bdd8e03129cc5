// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/start/start_page.h"

#include "app/gui/start/start_model.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/delegates.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/save_menu.h"
#include "app/gui/workbench.h"

#include <algorithm>
#include <QApplication>
#include <QClipboard>
#include <QDesktopServices>
#include <QDir>
#include <QFileInfo>
#include <QHBoxLayout>
#include <QHeaderView>
#include <QKeyEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMenu>
#include <QPushButton>
#include <QStackedWidget>
#include <QTreeView>
#include <QUrl>
#include <QVBoxLayout>

namespace bitlathe::gui {

StartPage::StartPage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), places_(usual_model_places()) {
  setAccessibleName(tr("Start page"));
  buildTop();
  buildList();
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(space::l, space::l, space::l, space::s);
  column->setSpacing(space::m);
  column->addWidget(top_);
  column->addWidget(pages_->parentWidget(), 1);
  connect(&workbench, &Workbench::opened, this, &StartPage::showTexts);
  showTexts();
}

void StartPage::buildTop() {
  auto* frame = new QFrame(this);
  setRole(frame, "drop");
  top_ = frame;
  title_ = makeTitle({}, frame);
  text_ = new QLabel(frame);
  text_->setWordWrap(true);
  setRole(text_, "muted");
  buttons_ = new QWidget(frame);
  auto* row = new QHBoxLayout(buttons_);
  row->setContentsMargins(0, space::xs, 0, 0);
  row->setSpacing(space::s);
  row->addStretch();
  back_ = new QPushButton(tr("Back"), buttons_);
  back_->setToolTip(tr("Back to the open checkpoint (Escape)"));
  connect(back_, &QPushButton::clicked, this, &StartPage::left);
  row->addWidget(back_);
  auto* column = new QVBoxLayout(frame);
  column->setContentsMargins(space::l, space::m, space::l, space::m);
  column->setSpacing(space::xs);
  column->addWidget(title_);
  column->addWidget(text_);
  column->addWidget(buttons_);
}

QPushButton* StartPage::addAction(const QString& label, const QString& tooltip,
                                  std::function<void()> action) {
  auto* button = new QPushButton(label, buttons_);
  button->setToolTip(tooltip);
  auto* row = static_cast<QHBoxLayout*>(buttons_->layout());
  const int at = row->count() - 2; // before the stretch and the way back
  if (at == 0)
    setRole(button, "primary");
  row->insertWidget(at, button);
  connect(button, &QPushButton::clicked, this, std::move(action));
  return button;
}

void StartPage::buildList() {
  auto* card = new Card(tr("On this machine"),
                        tr("Models that were opened before, and those in the caches of Hugging "
                           "Face, Ollama, LM Studio and llama.cpp"),
                        this);
  search_ = new QLineEdit(card);
  search_->setPlaceholderText(tr("Search models"));
  search_->setClearButtonEnabled(true);
  search_->setMaximumWidth(280);
  search_->setMinimumWidth(160);
  search_->setToolTip(tr("Words that must all occur in the name, format, type or path; Enter opens "
                         "the first one (Ctrl+F)"));
  search_->setAccessibleName(tr("Search models"));
  search_->installEventFilter(this);
  card->addTool(search_);
  again_ = new QPushButton(tr("Look again"), card);
  again_->setToolTip(tr("Search the caches again (F5)"));
  connect(again_, &QPushButton::clicked, this, &StartPage::search);
  card->addTool(again_);

  pages_ = new QStackedWidget(card);
  model_ = new StartModel(this);
  filter_ = new StartFilter(this);
  filter_->setRecursiveFilteringEnabled(true);
  filter_->setSourceModel(model_);
  view_ = new QTreeView(pages_);
  view_->setModel(filter_);
  view_->setUniformRowHeights(true);
  view_->setSelectionBehavior(QAbstractItemView::SelectRows);
  view_->setSelectionMode(QAbstractItemView::SingleSelection);
  view_->setEditTriggers(QAbstractItemView::NoEditTriggers);
  view_->setContextMenuPolicy(Qt::CustomContextMenu);
  view_->setAccessibleName(tr("Models on this machine"));
  view_->setIndentation(14);
  view_->setSortingEnabled(true);
  view_->header()->setSortIndicatorClearable(true);
  view_->sortByColumn(-1, Qt::AscendingOrder); // recent ones as they were used, others newest first
  view_->setItemDelegateForColumn(int(StartColumn::quant), new ChipDelegate(view_));
  view_->header()->setStretchLastSection(true);
  view_->header()->setSectionResizeMode(int(StartColumn::name), QHeaderView::Interactive);
  const int widths[] = {360, 96, 110, 84, 96};
  for (int column = 0; column < 5; ++column)
    view_->setColumnWidth(column, widths[column]);
  setRole(view_, "bare");
  view_->setTextElideMode(Qt::ElideMiddle);
  connect(view_, &QTreeView::activated, this, &StartPage::choose);
  connect(view_, &QWidget::customContextMenuRequested, this, &StartPage::openMenu);
  connect(search_, &QLineEdit::textChanged, this, [this](const QString& text) {
    filter_->setSearch(text);
    view_->expandAll();
  });
  connect(search_, &QLineEdit::returnPressed, this, [this] {
    const QModelIndex source = filter_->index(0, 0);
    if (source.isValid())
      choose(filter_->index(0, 0, source));
  });
  empty_ = new EmptyState({}, {}, pages_);
  pages_->addWidget(empty_);
  pages_->addWidget(view_);
  card->addBody(pages_);
  status_ = makeCaption({}, card);
  status_->setWordWrap(true);
  card->addBody(status_, 0);
}

void StartPage::setPurpose(Purpose purpose) {
  purpose_ = purpose;
  showTexts();
}

void StartPage::setRecent(const QStringList& paths) { recent_ = paths; }

void StartPage::setPlaces(std::vector<ModelPlace> places) { places_ = std::move(places); }

void StartPage::showTexts() {
  const auto& open = workbench_.checkpoint();
  const QString name = open ? QString::fromStdString(open->name) : QString();
  back_->setVisible(open != nullptr);
  if (purpose_ == Purpose::beside) {
    title_->setText(tr("Open a second checkpoint beside %1").arg(name));
    text_->setText(tr("Modules are matched by name, whatever the formats: an original and someone "
                      "else's quantization of it, two quantizations, or two fine-tunes. Their "
                      "histograms lie over each other, and the error is measured over whole "
                      "tensors."));
  } else {
    title_->setText(open ? tr("Open another checkpoint") : tr("Drop a checkpoint here"));
    text_->setText(tr("A Hugging Face folder with safetensors, a GGUF file, a quantized export or "
                      "a saved session; what a file is called does not matter. Nothing is "
                      "changed: Bitlathe looks at every layer, quantizes a copy, and shows what "
                      "that cost before you export it."));
  }
}

void StartPage::showEvent(QShowEvent* event) {
  QWidget::showEvent(event);
  if (!looked_)
    search();
  search_->setFocus(Qt::OtherFocusReason);
}

void StartPage::search() {
  looked_ = true;
  searching_ = true;
  again_->setEnabled(false);
  status_->setText(tr("looking for models …"));
  if (model_->modelCount() == 0) {
    empty_->setTexts(tr("Looking …"), tr("in the caches of Hugging Face, Ollama, LM Studio and "
                                         "llama.cpp"));
    pages_->setCurrentWidget(empty_);
  }
  std::vector<fs::path> recent;
  for (const auto& path : recent_)
    recent.emplace_back(path.toStdString());
  workbench_.engine().run<FoundModels>(
      QStringLiteral("locate"), tr("Looking for models"), this,
      [places = places_, recent](Feedback& feedback, Compute&) -> Result<FoundModels> {
        return locate_models(places, recent, feedback);
      },
      [this](Result<FoundModels> found) {
        searching_ = false;
        again_->setEnabled(true);
        if (found)
          showFound(std::move(*found));
        else
          status_->setText(tr("The search was stopped."));
        Q_EMIT searched();
      },
      false);
}

void StartPage::showFound(FoundModels found) {
  const auto current = model_->modelAt(filter_->mapToSource(view_->currentIndex()));
  const fs::path kept = current ? current->path : fs::path();
  const auto total = found.models.size();
  model_->setModels(std::move(found.models));
  view_->expandAll();
  int places = 0;
  QStringList lines;
  for (const auto& place : found.places) {
    places += place.exists;
    lines.append(
        tr("%1  (%2)")
            .arg(QDir::toNativeSeparators(QString::fromStdString(place.place.path.string())),
                 place.exists ? tr("%n models", nullptr, place.models) : tr("not there")));
  }
  for (const auto& note : found.notes)
    lines.append(QString::fromStdString(note));
  QString text = tr("%n models", nullptr, int(total)) + QStringLiteral(" · ") +
                 tr("%n folders searched", nullptr, places);
  if (!found.notes.empty()) // what could not be read is never silent
    text += QStringLiteral(" · ") + QString::fromStdString(found.notes.front()) +
            (found.notes.size() > 1 ? tr(" (and %1 more)").arg(found.notes.size() - 1) : QString());
  status_->setText(text);
  status_->setToolTip(lines.join('\n'));
  if (total == 0) {
    empty_->setTexts(tr("No models found here yet"),
                     tr("Models that you download with Hugging Face tools, Ollama, LM Studio or "
                        "llama.cpp appear here, and everything you open. Any folder or file can be "
                        "opened with the buttons above, or dropped onto the window."));
    pages_->setCurrentWidget(empty_);
    return;
  }
  pages_->setCurrentWidget(view_);
  for (int source = 0; source < filter_->rowCount(); ++source) { // keep the place in the list
    const QModelIndex parent = filter_->index(source, 0);
    for (int row = 0; row < filter_->rowCount(parent); ++row)
      if (const auto index = filter_->index(row, 0, parent);
          !kept.empty() && model_->modelAt(filter_->mapToSource(index))->path == kept) {
        view_->setCurrentIndex(index);
        return;
      }
  }
  if (const QModelIndex first = filter_->index(0, 0, filter_->index(0, 0)); first.isValid())
    view_->setCurrentIndex(first);
}

void StartPage::activate(const QModelIndex& proxy_index, Purpose purpose) {
  const auto* model = model_->modelAt(filter_->mapToSource(proxy_index));
  if (!model)
    return;
  if (!model->problem.empty()) {
    status_->setText(tr("%1: %2").arg(QString::fromStdString(model->name),
                                      QString::fromStdString(model->problem)));
    return;
  }
  Q_EMIT chosen(QString::fromStdString(model->path.string()), purpose);
}

void StartPage::openMenu(const QPoint& at) {
  const QModelIndex index = view_->indexAt(at);
  const auto* found = model_->modelAt(filter_->mapToSource(index));
  if (!found)
    return;
  const QString path = QString::fromStdString(found->path.string());
  auto* menu = new QMenu(view_);
  menu->setAttribute(Qt::WA_DeleteOnClose);
  menu->setToolTipsVisible(true);
  const QPersistentModelIndex row = index;
  const bool usable = found->problem.empty();
  menu->addAction(tr("Open"), this, [this, row] { activate(row, Purpose::open); })
      ->setEnabled(usable);
  auto* beside = menu->addAction(tr("Open beside the current one"), this,
                                 [this, row] { activate(row, Purpose::beside); });
  beside->setEnabled(usable && workbench_.checkpoint());
  beside->setToolTip(tr("As a second checkpoint, for overlaid histograms and errors"));
  menu->addSeparator();
  menu->addAction(tr("Copy the path"), this, [path] { QApplication::clipboard()->setText(path); });
  menu->addAction(tr("Show in the file manager"), this, [path] {
    QDesktopServices::openUrl(
        QUrl::fromLocalFile(QFileInfo(path).isDir() ? path : QFileInfo(path).absolutePath()));
  });
  if (found->source == "recent")
    menu->addAction(tr("Forget this entry"), this, [this, path] {
      recent_.removeAll(path);
      Q_EMIT forgetWanted(path);
      search();
    });
  menu->popup(view_->viewport()->mapToGlobal(at));
}

void StartPage::keyPressEvent(QKeyEvent* event) {
  if (event->key() == Qt::Key_Escape && workbench_.checkpoint())
    Q_EMIT left();
  else if (event->key() == Qt::Key_F5)
    search();
  else if (event->matches(QKeySequence::Find))
    search_->setFocus(Qt::ShortcutFocusReason);
  else
    QWidget::keyPressEvent(event);
}

bool StartPage::eventFilter(QObject* watched, QEvent* event) {
  // The arrows lead from the search field into the list.
  if (watched == search_ && event->type() == QEvent::KeyPress) {
    const int key = static_cast<QKeyEvent*>(event)->key();
    if (key == Qt::Key_Down || key == Qt::Key_PageDown) {
      view_->setFocus(Qt::OtherFocusReason);
      return true;
    }
  }
  return QWidget::eventFilter(watched, event);
}

} // namespace bitlathe::gui
