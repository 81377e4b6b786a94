/** The words of the panels, in the language of the editor where there is one of these. */
import { app } from "../../scripts/app.js";

const ENGLISH = {
  results: "Results",
  empty: "Run to see it here.",
  picture: (number, count) => (count > 1 ? `Picture ${number} of ${count}` : "Picture"),
  before: "Before",
  after: "After",
  previous: "Previous",
  next: "Next",
  play: "Play",
  pause: "Pause",
  seed: "seed",
  useSeed: "Use this seed",
  useSeedHelp: "Set this seed on the sampler and let it stay",
  more: (count) => `${count} more are not shown`,
  grid: (x, y, width, height, colours, confidence) =>
    `Grid of ${x} × ${y} px, ${width} × ${height} true pixels, ${colours} colours, ` +
    `confidence ${confidence}%`,
  unsure: "Unsure: look at it, or give the width.",
  allFrames: "All frames",
  animation: "Animation",
  speed: "Speed",
  frame: (number, count, ms) => `Frame ${number} of ${count}, ${ms} ms`,
  passed: (passed, count) => `${passed} of ${count} pass`,
  measure: "Measure",
  value: "Value",
  bound: "Bound",
  mend: "What mends it",
  palette: "Palette",
  preset: "Preset …",
  fromFile: "From a file …",
  fromFileHelp: "A picture, or a .hex, .gpl or JASC .pal file",
  colour: "Colour",
  addColour: "Add a colour",
  removeColour: "Click to change, Delete to remove",
  advanced: (count, shown) =>
    shown ? "Hide advanced settings" : `Show ${count} advanced ${count > 1 ? "settings" : "setting"}`,
  tooManyColours: (count, most) =>
    `This picture has ${count} colours; a palette has 1 to ${most}. Snap it first.`,
};

const CHINESE = {
  results: "结果",
  empty: "运行后显示在这里。",
  picture: (number, count) => (count > 1 ? `第 ${number} 张，共 ${count} 张` : "图片"),
  before: "之前",
  after: "之后",
  previous: "上一个",
  next: "下一个",
  play: "播放",
  pause: "暂停",
  seed: "种子",
  useSeed: "使用此种子",
  useSeedHelp: "在采样器上设置此种子并固定",
  more: (count) => `另有 ${count} 张未显示`,
  grid: (x, y, width, height, colours, confidence) =>
    `网格 ${x} × ${y} 像素，真实大小 ${width} × ${height}，${colours} 种颜色，置信度 ${confidence}%`,
  unsure: "不确定：请检查，或给出宽度。",
  allFrames: "所有帧",
  animation: "动画",
  speed: "速度",
  frame: (number, count, ms) => `第 ${number} 帧，共 ${count} 帧，${ms} 毫秒`,
  passed: (passed, count) => `${count} 张中 ${passed} 张合格`,
  measure: "指标",
  value: "值",
  bound: "界限",
  mend: "如何修复",
  palette: "调色板",
  preset: "预设 …",
  fromFile: "从文件 …",
  fromFileHelp: "图片，或 .hex、.gpl、JASC .pal 文件",
  colour: "颜色",
  addColour: "添加颜色",
  removeColour: "点击更改，Delete 键删除",
  advanced: (count, shown) => (shown ? "隐藏高级设置" : `显示 ${count} 项高级设置`),
  tooManyColours: (count, most) => `此图片有 ${count} 种颜色；调色板为 1 到 ${most} 种。请先对齐像素。`,
};

const JAPANESE = {
  results: "結果",
  empty: "実行するとここに表示されます。",
  picture: (number, count) => (count > 1 ? `画像 ${number} / ${count}` : "画像"),
  before: "前",
  after: "後",
  previous: "前へ",
  next: "次へ",
  play: "再生",
  pause: "一時停止",
  seed: "シード",
  useSeed: "このシードを使う",
  useSeedHelp: "このシードをサンプラーに設定して固定します",
  more: (count) => `他に ${count} 枚は表示されません`,
  grid: (x, y, width, height, colours, confidence) =>
    `グリッド ${x} × ${y} px、実寸 ${width} × ${height} ピクセル、${colours} 色、信頼度 ${confidence}%`,
  unsure: "不確か：確認するか、幅を指定してください。",
  allFrames: "すべてのフレーム",
  animation: "アニメーション",
  speed: "速度",
  frame: (number, count, ms) => `フレーム ${number} / ${count}、${ms} ms`,
  passed: (passed, count) => `${count} 枚中 ${passed} 枚が合格`,
  measure: "項目",
  value: "値",
  bound: "範囲",
  mend: "直し方",
  palette: "パレット",
  preset: "プリセット …",
  fromFile: "ファイルから …",
  fromFileHelp: "画像、または .hex、.gpl、JASC .pal ファイル",
  colour: "色",
  addColour: "色を追加",
  removeColour: "クリックで変更、Delete で削除",
  advanced: (count, shown) => (shown ? "詳細設定を隠す" : `詳細設定 ${count} 件を表示`),
  tooManyColours: (count, most) =>
    `この画像は ${count} 色です。パレットは 1～${most} 色です。先にスナップしてください。`,
};

const SPANISH = {
  results: "Resultados",
  empty: "Ejecute para verlo aquí.",
  picture: (number, count) => (count > 1 ? `Imagen ${number} de ${count}` : "Imagen"),
  before: "Antes",
  after: "Después",
  previous: "Anterior",
  next: "Siguiente",
  play: "Reproducir",
  pause: "Pausa",
  seed: "semilla",
  useSeed: "Usar esta semilla",
  useSeedHelp: "Poner esta semilla en el muestreador y dejarla fija",
  more: (count) => `No se muestran otras ${count}`,
  grid: (x, y, width, height, colours, confidence) =>
    `Cuadrícula de ${x} × ${y} px, ${width} × ${height} píxeles reales, ${colours} colores, ` +
    `confianza ${confidence} %`,
  unsure: "Dudoso: mírelo o indique la anchura.",
  allFrames: "Todos los fotogramas",
  animation: "Animación",
  speed: "Velocidad",
  frame: (number, count, ms) => `Fotograma ${number} de ${count}, ${ms} ms`,
  passed: (passed, count) => `${passed} de ${count} pasan`,
  measure: "Medida",
  value: "Valor",
  bound: "Límite",
  mend: "Qué lo arregla",
  palette: "Paleta",
  preset: "Predefinida …",
  fromFile: "De un archivo …",
  fromFileHelp: "Una imagen, o un archivo .hex, .gpl o JASC .pal",
  colour: "Color",
  addColour: "Añadir un color",
  removeColour: "Clic para cambiar, Supr para quitar",
  advanced: (count, shown) =>
    shown ? "Ocultar ajustes avanzados" : `Mostrar ${count} ajustes avanzados`,
  tooManyColours: (count, most) =>
    `Esta imagen tiene ${count} colores; una paleta tiene de 1 a ${most}. Ajústela primero.`,
};

const LANGUAGES = { en: ENGLISH, zh: CHINESE, ja: JAPANESE, es: SPANISH };

/** Those of the editor's language; English where it has another. */
export function words() {
  const locale = app.ui?.settings?.getSettingValue?.("Comfy.Locale") ?? "en";
  return LANGUAGES[locale] ?? LANGUAGES[String(locale).split("-")[0]] ?? ENGLISH;
}
