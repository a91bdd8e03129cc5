// SPDX-License-Identifier: GPL-3.0-or-later
// The program's own light and dark look: Fusion, a palette, a small style sheet, and one colour
// language for everything that is drawn. Read colours when painting, never store them.
#pragma once

#include <QColor>
#include <QFont>
#include <QObject>

class QApplication;
class QLabel;
class QString;
class QWidget;

namespace bitlathe::gui {

enum class ThemeMode { system, light, dark };

struct ThemeColors {
  QColor window, ///< behind everything
      panel,     ///< docks, header, strips
      raised,    ///< cards, inputs, tables
      border, grid, text,
      muted,     ///< secondary text
      accent,    ///< focus, selection, the primary button
      selection, ///< background of selected rows
      hover;
  QColor original, ///< slate: the source
      quantized,   ///< teal: the first candidate
      second,      ///< violet: the second candidate
      outlier,     ///< amber
      error,       ///< red
      ok,          ///< green ticks
      warning;     ///< amber text
};

class Theme : public QObject {
  Q_OBJECT
 public:
  static Theme& instance();
  /// Style, palette, font and style sheet of the whole application.
  void apply(QApplication& app, ThemeMode mode);
  ThemeMode mode() const { return mode_; }
  bool dark() const { return dark_; }
  const ThemeColors& colors() const { return colors_; }

 Q_SIGNALS:
  void changed();

 private:
  Theme() = default;
  ThemeMode mode_ = ThemeMode::system;
  bool dark_ = false;
  ThemeColors colors_;
};

/// Shorthand for Theme::instance().colors().
const ThemeColors& theme();

/// The ordered palette of precisions from 2 to 32 bits; in between it is interpolated.
QColor precisionColor(double bits);
/// Black or white, whichever reads better on `background`.
QColor textOn(const QColor& background);
/// Sequential map 0..1 for heat maps (dark to light in the dark theme, reversed in the light one).
QColor heatColor(double t);
/// Diverging map -1..1: blue, neutral, orange.
QColor divergingColor(double t);
QColor mixed(const QColor& a, const QColor& b, double t); ///< t = 0: a

/// Distances in pixels at 96 dpi.
namespace space {
constexpr int xs = 4, s = 8, m = 12, l = 16, xl = 24, xxl = 40;
}

QFont titleFont();  ///< headings of cards and stages
QFont smallFont();  ///< captions, axes, chips
QFont numberFont(); ///< digits of equal width, for tables and read-outs
QFont codeFont();   ///< names of modules, JSON, log

QLabel* makeTitle(const QString& text, QWidget* parent = nullptr);
QLabel* makeCaption(const QString& text, QWidget* parent = nullptr); ///< small, muted, wraps

/// Marks a widget for the style sheet: "card" (raised, rounded), "panel", "primary" (button),
/// "flat" (tool button without a frame), "chip" (checkable pill), "banner", "muted", "warning",
/// "error".
void setRole(QWidget* widget, const char* role);

} // namespace bitlathe::gui
