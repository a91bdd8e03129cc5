// SPDX-License-Identifier: GPL-3.0-or-later
// The style sheet: only what the palette cannot say.
#include "app/gui/theme.h"

#include <QString>

namespace bitlathe::gui {

QString styleSheetFor(const ThemeColors& c, bool dark) {
  QString sheet = QStringLiteral(R"(
QToolTip { background: @raised; color: @text; border: 1px solid @border; padding: 4px 6px; }
QMainWindow::separator { background: @window; width: 6px; height: 6px; }
QMainWindow::separator:hover { background: @hover; }
QDockWidget { color: @muted; }
QDockWidget::title { background: @panel; padding: 6px 8px; border-bottom: 1px solid @border; }
QWidget[role="panel"] { background: @panel; }
QFrame[role="card"] { background: @raised; border: 1px solid @border; border-radius: 8px; }
QFrame[role="drop"] { background: @raised; border: 2px dashed @border; border-radius: 10px; }
QFrame[role="strip"] { background: @panel; border-top: 1px solid @border; }
QFrame[role="header"] { background: @panel; border-bottom: 1px solid @border; }
QFrame[role="banner-error"] { background: @errorwash; border: 1px solid @error; border-radius: 6px; }
QFrame[role="banner-warning"] { background: @warnwash; border: 1px solid @outlier; border-radius: 6px; }
QFrame[role="banner-info"] { background: @infowash; border: 1px solid @accent; border-radius: 6px; }
QLabel { background: transparent; }
QLabel[role="muted"] { color: @muted; }
QLabel[role="warning"] { color: @warning; }
QLabel[role="error"] { color: @error; }
QLabel[role="ok"] { color: @ok; }

QPushButton { background: @raised; border: 1px solid @border; border-radius: 6px; padding: 5px 12px; }
QPushButton:hover { background: @hover; }
QPushButton:pressed { background: @selection; }
QPushButton:focus { border-color: @accent; }
QPushButton:disabled { color: @disabled; background: @panel; }
QPushButton[role="primary"] { background: @accent; color: @onaccent; border-color: @accent; font-weight: 600; }
QPushButton[role="primary"]:hover { background: @accenthover; }
QPushButton[role="primary"]:disabled { background: @panel; color: @disabled; border-color: @border; }
QPushButton::menu-indicator { subcontrol-origin: padding; subcontrol-position: right center; right: 5px; width: 9px; }
QPushButton[role="chip"] { border-radius: 8px; padding: 2px 8px; background: transparent; color: @muted; }
QPushButton[role="chip"]:hover { background: @hover; color: @text; }
QPushButton[role="chip"]:checked { background: @selection; color: @text; border-color: @accent; }
QPushButton[role="segment"] { border: none; border-radius: 6px; padding: 6px 14px; background: transparent; color: @muted; }
QPushButton[role="segment"]:hover { color: @text; background: @hover; }
QPushButton[role="segment"]:checked { background: @accent; color: @onaccent; border: none; }
QPushButton[role="segment"]:focus { text-decoration: underline; }
QFrame[role="segments"] { background: @window; border: 1px solid @border; border-radius: 8px; }

QToolButton { border: 1px solid transparent; border-radius: 5px; padding: 3px 6px; background: transparent; }
QToolButton:hover { background: @hover; }
QToolButton:pressed, QToolButton:checked { background: @selection; }
QToolButton:focus { border-color: @accent; }
QToolButton::menu-indicator { image: none; }

QLineEdit, QPlainTextEdit, QTextEdit, QTextBrowser {
  background: @raised; border: 1px solid @border; border-radius: 6px; padding: 3px 6px;
  selection-background-color: @selection; selection-color: @text; }
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus { border-color: @accent; }
QLineEdit:disabled { color: @disabled; background: @panel; }
QComboBox QLineEdit, QAbstractSpinBox QLineEdit { border: none; border-radius: 0; padding: 0; background: transparent; }

QTreeView, QTableView, QListView { background: @raised; border: 1px solid @border; border-radius: 6px; outline: 0;
  alternate-background-color: @alternate; }
QTreeView[role="bare"], QTableView[role="bare"], QListView[role="bare"] { border: none; border-radius: 0; background: @panel; }
QTreeView::item:hover, QTableView::item:hover { background: @hover; }
QTreeView::item:selected, QTableView::item:selected { background: @selection; color: @text; }
QTreeView::indicator, QTableView::indicator, QListView::indicator, QCheckBox::indicator { width: 11px; height: 11px;
  border: 1px solid @muted; border-radius: 3px; background: @raised; }
QTreeView::indicator:checked, QTableView::indicator:checked, QListView::indicator:checked, QCheckBox::indicator:checked {
  background: @accent; border-color: @accent; image: url(:/icons/check.svg); }
QTreeView::indicator:indeterminate { background: @selection; border-color: @accent; }
QHeaderView { background: @panel; }
QHeaderView::section { background: @panel; color: @muted; border: none; border-bottom: 1px solid @border;
  padding: 4px 6px; }
QTableCornerButton::section { background: @panel; border: none; }

QTabBar::tab { background: transparent; color: @muted; padding: 6px 12px; border: none; border-bottom: 2px solid transparent; }
QTabBar::tab:hover { color: @text; }
QTabBar::tab:selected { color: @text; border-bottom: 2px solid @accent; }
QTabBar::tab:focus { color: @accent; }
QTabWidget::pane { border: none; border-top: 1px solid @border; }

QScrollArea { background: transparent; border: none; }
QScrollArea > QWidget > QWidget[role="clear"] { background: transparent; }
QScrollBar:vertical { background: transparent; width: 11px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 11px; margin: 0; }
QScrollBar::handle { background: @handle; border-radius: 4px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:hover { background: @muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }

QProgressBar { background: @grid; border: none; border-radius: 4px; text-align: center; color: @text; }
QProgressBar::chunk { background: @accent; border-radius: 4px; }
QMenuBar { background: @panel; border-bottom: 1px solid @border; padding: 2px; }
QMenuBar::item { padding: 4px 9px; border-radius: 5px; background: transparent; }
QMenuBar::item:selected { background: @hover; }
QMenu { background: @raised; border: 1px solid @border; padding: 5px; }
QMenu::item { padding: 5px 24px 5px 12px; border-radius: 4px; }
QMenu::item:selected { background: @selection; color: @text; }
QMenu::item:disabled { color: @disabled; }
QMenu::separator { height: 1px; background: @border; margin: 5px 6px; }
QMenu::icon { padding-left: 8px; }
QStatusBar { background: @panel; color: @muted; }
QSplitter::handle { background: transparent; }
QSplitter::handle:hover { background: @hover; }
QGroupBox { border: 1px solid @border; border-radius: 8px; margin-top: 9px; padding-top: 9px; }
QGroupBox::title { subcontrol-origin: margin; left: 10px; padding: 0 4px; color: @muted; }
)");
  const auto put = [&sheet](const char* key, const QColor& color) {
    sheet.replace(QString::fromLatin1(key), color.name(QColor::HexRgb));
  };
  // Longer keys first: a key may begin with another one.
  put("@accenthover", mixed(c.accent, dark ? QColor(Qt::white) : QColor(Qt::black), 0.12));
  put("@onaccent", textOn(c.accent));
  put("@errorwash", mixed(c.raised, c.error, 0.12));
  put("@warnwash", mixed(c.raised, c.outlier, 0.12));
  put("@infowash", mixed(c.raised, c.accent, 0.10));
  put("@alternate", mixed(c.raised, c.panel, 0.6));
  put("@disabled", mixed(c.muted, c.panel, 0.45));
  put("@handle", mixed(c.border, c.muted, 0.35));
  put("@selection", c.selection);
  put("@outlier", c.outlier);
  put("@warning", c.warning);
  put("@window", c.window);
  put("@raised", c.raised);
  put("@border", c.border);
  put("@accent", c.accent);
  put("@panel", c.panel);
  put("@hover", c.hover);
  put("@muted", c.muted);
  put("@error", c.error);
  put("@text", c.text);
  put("@grid", c.grid);
  put("@ok", c.ok);
  return sheet;
}

} // namespace bitlathe::gui
