// SPDX-License-Identifier: GPL-3.0-or-later
#include "app/gui/compare/compare_stage.h"

#include "app/gui/compare/lower_part.h"
#include "app/gui/compare/panes_view.h"
#include "app/gui/compare/prompt_bar.h"
#include "app/gui/compare/prompts_card.h"
#include "app/gui/compare/transcript_book.h"
#include "app/gui/format.h"
#include "app/gui/theme.h"
#include "app/gui/widgets/card.h"
#include "app/gui/widgets/empty_state.h"
#include "app/gui/widgets/standing_remark.h"

#include <algorithm>
#include <QFileInfo>
#include <QSplitter>
#include <QStackedWidget>
#include <QVBoxLayout>

namespace bitlathe::gui {

CompareStage::CompareStage(Workbench& workbench, QWidget* parent)
    : QWidget(parent), workbench_(workbench), runner_(new GenerationRunner(workbench, this)),
      book_(TranscriptBook::of(workbench)) {
  setAcceptDrops(true);
  pages_ = new QStackedWidget(this);
  empty_ = new EmptyState(tr("Two models, one prompt"),
                          tr("Open a checkpoint to write with it. Once it is quantized, the same "
                             "prompt and seed run on both, side by side, and the first token that "
                             "differs is marked."),
                          pages_);
  pages_->addWidget(empty_);

  auto* page = new QWidget(pages_);
  auto* column = new QVBoxLayout(page);
  column->setContentsMargins(space::m, space::m, space::m, space::m);
  column->setSpacing(space::s);
  banner_ = new Banner(page);
  column->addWidget(banner_);
  bar_ = new PromptBar(page);
  column->addWidget(bar_);
  split_ = new QSplitter(Qt::Vertical, page);
  split_->setChildrenCollapsible(false);
  split_->setHandleWidth(space::s);
  panes_ = new PanesView(split_);
  split_->addWidget(panes_);
  lower_ = new LowerPart(split_);
  prompts_ = lower_->prompts();
  split_->addWidget(lower_);
  connect(lower_, &LowerPart::frontChanged, this, [this](bool prompts) {
    const int total = split_->height(); // a list wants more room
    const int wanted = prompts ? std::clamp(total * 2 / 5, 190, 340) : 170;
    if (total > 2 * wanted)
      split_->setSizes({total - wanted, wanted});
  });
  split_->setStretchFactor(0, 1);
  split_->setStretchFactor(1, 0);
  column->addWidget(split_, 1);
  pages_->addWidget(page);
  auto* all = new QVBoxLayout(this);
  all->setContentsMargins(0, 0, 0, 0);
  all->addWidget(pages_);

  connect(bar_, &PromptBar::runWanted, this, &CompareStage::run);
  connect(bar_, &PromptBar::runSetWanted, this, [this] { runSet(0); });
  connect(bar_, &PromptBar::stopWanted, this, &CompareStage::stop);
  connect(bar_, &PromptBar::addWanted, this, &CompareStage::addContender);
  connect(bar_, &PromptBar::judgeWanted, this, &CompareStage::openDesk);
  connect(bar_, &PromptBar::setChosen, this, &CompareStage::loadPrompts);
  connect(bar_, &PromptBar::importWanted, this, &CompareStage::askPrompts);
  connect(bar_, &PromptBar::promptChosen, this, &CompareStage::choosePrompt);
  connect(bar_, &PromptBar::stepWanted, this, &CompareStage::nextPrompt);
  connect(bar_, &PromptBar::changed, this, [this] {
    refreshButtons();
    keepState();
  });
  connect(panes_, &PanesView::tokenChanged, this, &CompareStage::refreshDetail);
  connect(panes_, &PanesView::addRequested, this, &CompareStage::addContender);
  connect(panes_, &PanesView::viewChanged, this, &CompareStage::keepState);
  connect(panes_, &PanesView::removeRequested, this,
          [this](int index) { workbench_.removeContender(index); });
  connect(prompts_, &PromptsCard::chosen, this, &CompareStage::choosePrompt);
  connectRunner();
  buildTranscriptMenu();

  connect(&workbench_, &Workbench::opened, this, [this] {
    restoreState();
    offerSets();
    contendersChanged();
  });
  connect(&workbench_, &Workbench::contendersChanged, this, &CompareStage::contendersChanged);
  connect(&workbench_, &Workbench::resultsChanged, this, &CompareStage::refreshButtons);
  connect(&workbench_, &Workbench::recipeChanged, this, &CompareStage::refreshButtons);
  connect(book_, &TranscriptBook::changed, this, &CompareStage::refreshPrompts);
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    panes_->recolor();
    refreshDetail();
  });
  restoreState();
  offerSets();
  contendersChanged();
}

void CompareStage::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  lower_->fit(width());
  bar_->setLines(height() < 860 ? 2 : 3);
}

void CompareStage::connectRunner() {
  connect(runner_, &GenerationRunner::promptBegun, this, [this](int prompt) {
    const int row = rows_.value(prompt, -1);
    prompts_->model().setRunning(row);
    if (!live_)
      return;
    row_ = row;
    bar_->setCurrent(row);
    prompts_->setCurrent(row);
    if (!bar_->isWriting())
      bar_->setPrompt(QString::fromStdString(runner_->prompts()[prompt].text));
    sides_ = runner_->sides();
    panes_->show(sides_);
  });
  connect(runner_, &GenerationRunner::promptRendered, this, [this](int side) {
    if (live_)
      panes_->setPrompt(side, runner_->sides()[side].rendered);
  });
  connect(runner_, &GenerationRunner::tokensCame, this, [this](int side, qsizetype from) {
    if (!live_)
      return;
    sides_ = runner_->sides();
    panes_->append(sides_, side, from);
  });
  connect(runner_, &GenerationRunner::sideChanged, this, [this](int side) {
    if (!live_)
      return;
    sides_ = runner_->sides();
    panes_->change(sides_, side);
  });
  connect(runner_, &GenerationRunner::promptDone, this,
          [this](int, const Transcript& transcript) { promptDone(transcript); });
  connect(runner_, &GenerationRunner::finished, this, &CompareStage::runFinished);
  connect(&workbench_.engine(), &EngineThread::progressed, this, &CompareStage::refreshProgress);
}

// --- what is shown ------------------------------------------------------------------------------

/// At most four, with titles that differ: exports of one model all have its name.
QList<Contender> CompareStage::contenders() const {
  QList<Contender> out = workbench_.contenders().mid(0, most_contenders);
  QStringList titles;
  for (Contender& contender : out) {
    if (contender.checkpoint)
      for (const SessionVariant& variant : workbench_.variants())
        if (!variant.result.empty() && variant.result == contender.checkpoint->path.string())
          contender.title = QString::fromStdString(variant.title);
    titles << contender.title;
  }
  for (int i = 0; i < out.size(); ++i)
    if (titles.count(titles[i]) > 1 && out[i].checkpoint)
      out[i].title += QStringLiteral(" (%1)").arg(
          QFileInfo(QString::fromStdString(out[i].checkpoint->path.string())).fileName());
  return out;
}

void CompareStage::contendersChanged() {
  const QList<Contender> now = contenders();
  pages_->setCurrentIndex(now.isEmpty()                               ? 0
                          : desk_ && pages_->currentWidget() == desk_ ? pages_->indexOf(desk_)
                                                                      : 1);
  const bool same = std::equal(now.begin(), now.end(), contenders_.begin(), contenders_.end(),
                               [](const Contender& a, const Contender& b) {
                                 return a.title == b.title && a.checkpoint == b.checkpoint;
                               });
  if (same && panes_->count() == now.size() && !now.isEmpty())
    return;
  contenders_ = now;
  runner_->clear();
  rows_.clear();
  live_ = false;
  prompts_->model().setRunning(-1);
  prompts_->hideProgress();
  bar_->chat().setContenders(now);
  const Transcript* kept = book_->find(bar_->prompt().toStdString());
  if (kept && kept->sides.size() == std::size_t(now.size()))
    showTranscript(*kept);
  else
    showIdle(bar_->prompt());
  refreshPrompts();
}

void CompareStage::showIdle(const QString& prompt) {
  QList<PaneInfo> infos;
  sides_.clear();
  const int own = workbench_.quantized() ? 2 : 1; // these belong to the window
  for (int i = 0; i < contenders_.size(); ++i) {
    const Contender& contender = contenders_[i];
    PaneInfo info{contender.title, {}, {}, GenerationRunner::problemOf(contender), i >= own};
    if (contender.checkpoint) {
      info.path = QString::fromStdString(contender.checkpoint->path.string());
      info.tip = tr("%1, %2 as stored")
                     .arg(QString::fromStdString(contender.checkpoint->format),
                          formatBytes(contender.checkpoint->bytes()));
    }
    infos.push_back(info);
    Generation side;
    side.title = contender.title;
    side.prompt = prompt;
    sides_.push_back(side);
  }
  panes_->setPanes(infos);
  panes_->show(sides_);
}

void CompareStage::showTranscript(const Transcript& transcript) {
  bool current = transcript.sides.size() == std::size_t(contenders_.size());
  for (int i = 0; current && i < contenders_.size(); ++i)
    current = contenders_[i].checkpoint &&
              contenders_[i].checkpoint->path.string() == transcript.sides[std::size_t(i)].path;
  showIdle(QString::fromStdString(transcript.prompt));
  if (!current) { // written by other models than those that are here now
    QList<PaneInfo> infos;
    for (const TranscriptSide& side : transcript.sides)
      infos.push_back({QString::fromStdString(side.title),
                       QString::fromStdString(side.path),
                       tr("As it was written; not among the models compared now"),
                       {},
                       false});
    panes_->setPanes(infos);
  }
  sides_.clear();
  for (std::size_t i = 0; i < transcript.sides.size(); ++i)
    sides_.push_back(generationOf(transcript, i));
  panes_->show(sides_);
  panes_->finish(sides_);
  const qsizetype first = panes_->firstDivergence();
  panes_->setCurrent(first >= 0 ? first : closestCall());
}

/// Where the last model was least sure of what it took; -1 without probabilities.
qsizetype CompareStage::closestCall() const {
  if (sides_.isEmpty())
    return -1;
  const QList<ShownToken>& tokens = sides_.last().tokens;
  qsizetype at = -1;
  for (qsizetype i = 0; i < tokens.size(); ++i)
    if (tokens[i].hasLogprob && (at < 0 || tokens[i].logprob < tokens[at].logprob))
      at = i;
  return at;
}

void CompareStage::refreshDetail() {
  const qsizetype at = panes_->shown();
  QList<TopTokens::Side> shown;
  if (at >= 0)
    for (int i = 0; i < sides_.size(); ++i) {
      TopTokens::Side side{sides_[i].title, contenderColor(i), at < sides_[i].tokens.size(), {}};
      if (side.present)
        side.token = sides_[i].tokens[at];
      shown.push_back(side);
    }
  if (at < 0)
    return lower_->showTokens(shown, {});
  QString before;
  for (qsizetype i = std::max<qsizetype>(0, at - 8); i < at && !sides_.isEmpty(); ++i)
    if (i < sides_[0].tokens.size())
      before += sides_[0].tokens[i].text;
  const auto& divergences = panes_->divergences();
  const bool first = divergences.contains(at);
  const qsizetype parted = panes_->firstDivergence();
  QString text = tr("token %1%2, after \u201c\u2026%3\u201d")
                     .arg(at + 1)
                     .arg(first                        ? tr(" (first difference)")
                          : parted >= 0 && at > parted ? tr(" (the texts differ by now)")
                                                       : QString(),
                          before.simplified());
  lower_->showTokens(shown, text);
}

void CompareStage::refreshButtons() {
  const bool busy = running();
  const bool some = !contenders_.isEmpty();
  PromptBar::Able able;
  able.run = some && !busy && !bar_->prompt().trimmed().isEmpty();
  able.stop = busy;
  able.set = some && setSize_ > 0 && !busy;
  able.transcripts = able.judge = !book_->empty();
  able.add = some && workbench_.contenders().size() < most_contenders;
  const auto left = some ? rowsToRun(0).size() : qsizetype(setSize_);
  able.setText = left == 0 && setSize_ > 0 ? tr("Run again")
                 : left < setSize_         ? tr("Go on (%1)").arg(left)
                                           : tr("Run set (%1)").arg(setSize_);
  bar_->setAble(able);
  keepSaying(*banner_, workbench_.resultStale(), 1,
             tr("The recipe changed since the quantized side was made. Quantize again to compare "
                "what the recipe says now."));
}

void CompareStage::refreshProgress() {
  if (!running() || rows_.size() < 2)
    return;
  prompts_->showProgress(runner_->prompt(), int(rows_.size()), runner_->progress(),
                         runner_->secondsLeft());
}

// --- running ------------------------------------------------------------------------------------

const std::vector<Transcript>& CompareStage::transcripts() const { return book_->transcripts(); }
void CompareStage::setPrompt(const QString& prompt) { bar_->setPrompt(prompt); }
void CompareStage::setMaxNew(int tokens) { bar_->sampling().setMaxNew(tokens); }
void CompareStage::setSampling(const TranscriptSampling& sampling) {
  bar_->sampling().set(sampling);
}
void CompareStage::setChat(bool on, const QString& system) { bar_->chat().set(on, system); }

RunOptions CompareStage::options(bool of_set) const {
  RunOptions out;
  out.sampling = bar_->sampling().sampling();
  const ChatShown chat = bar_->chat().shown();
  out.chat = chat.on;
  out.system = chat.system.toStdString();
  if (of_set)
    out.set = set_.name;
  return out;
}

void CompareStage::start(const QList<Prompt>& prompts, const QList<int>& rows) {
  rows_ = rows;
  live_ = true;
  showIdle(bar_->prompt()); // the panes of the models that run
  runner_->start(contenders_, prompts, options(rows.first() >= 0 && rows.first() < setSize_));
  refreshProgress();
  refreshDetail();
  refreshButtons();
  keepState();
}

void CompareStage::run() {
  const QString text = bar_->prompt();
  if (contenders_.isEmpty() || text.isEmpty() || running())
    return;
  const int row = rowOf(text.toStdString());
  Prompt prompt{{}, text.toStdString(), {}};
  if (row >= 0)
    prompt = prompts_->model().prompts()[row];
  start({prompt}, {row});
}

QList<int> CompareStage::rowsToRun(int prompts) const {
  const auto models = GenerationRunner::modelsOf(contenders_);
  const RunOptions run = options(true);
  QList<int> out;
  const int count = prompts > 0 ? std::min(prompts, setSize_) : setSize_;
  for (int row = 0; row < count; ++row) {
    const Prompt& prompt = set_.prompts[std::size_t(row)];
    const auto& kept = book_->transcripts();
    if (std::none_of(kept.begin(), kept.end(),
                     [&](const Transcript& t) { return is_run_already(t, prompt, models, run); }))
      out.push_back(row);
  }
  return out;
}

void CompareStage::runSet(int prompts) {
  if (setSize_ == 0 || contenders_.isEmpty() || running())
    return;
  QList<int> rows = rowsToRun(prompts);
  if (rows.isEmpty())
    for (int row = 0; row < (prompts > 0 ? std::min(prompts, setSize_) : setSize_); ++row)
      rows.push_back(row);
  QList<Prompt> list;
  for (const int row : rows)
    list.push_back(set_.prompts[std::size_t(row)]);
  if (rows.size() > 1)
    lower_->showPrompts(true);
  start(list, rows);
}

void CompareStage::rehearse(int prompts) {
  if (setSize_ == 0) {
    setWanted_ = prompts; // when the set has been read
    return;
  }
  // So that the first prompt is the one that stays in view.
  QList<Prompt> list;
  QList<int> rows;
  for (int row = std::min(prompts, setSize_) - 1; row >= 0; --row) {
    rows.push_back(row);
    list.push_back(set_.prompts[std::size_t(row)]);
  }
  if (!rows.isEmpty() && !contenders_.isEmpty())
    start(list, rows);
}

void CompareStage::stop() {
  runner_->stop();
  refreshButtons();
}

void CompareStage::promptDone(const Transcript& transcript) {
  const bool any = std::any_of(transcript.sides.begin(), transcript.sides.end(),
                               [](const TranscriptSide& side) { return !side.ids.empty(); });
  if (!any)
    return;
  book_->add(transcript); // a change of the book refreshes the rows
}

void CompareStage::runFinished() {
  prompts_->model().setRunning(-1);
  prompts_->hideProgress();
  if (rows_.size() == 1)
    live_ = true; // a single prompt ends in view
  if (live_) {
    sides_ = runner_->sides();
    panes_->finish(sides_);
    const qsizetype first = panes_->firstDivergence();
    panes_->setCurrent(first >= 0 ? first : closestCall());
    live_ = false;
  }
  row_ = rowOf(bar_->prompt().toStdString());
  bar_->setCurrent(row_);
  prompts_->setCurrent(row_);
  refreshButtons();
}

} // namespace bitlathe::gui
