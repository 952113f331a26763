// Turns a chosen file into the body of a request.

const LONGEST_SIDE_PX = 2048;
const SENT_UNCHANGED = ["image/jpeg", "image/png", "image/webp"];

// Supported files are sent unchanged; other formats and large files are converted by the browser.
export async function toBody(file, maxBytes) {
  if (SENT_UNCHANGED.includes(file.type) && file.size <= maxBytes) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error("this browser can't read the file as an image.");
  }
  const scale = Math.min(1, LONGEST_SIDE_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
}
