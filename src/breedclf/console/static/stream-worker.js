// Shared by all pages of the console in a browser: they say when they are visible, and are sent what changed.

import { Stream } from "./stream.js";

const stream = new Stream();

self.addEventListener("connect", (event) => {
  const port = event.ports[0];
  port.addEventListener("message", ({ data }) => {
    if (data.show) stream.show(port, data.show, data.cursor, (news) => port.postMessage(news));
    else if (data.hide) stream.hide(port);
    else stream.isHere(port);
  });
  port.start();
});
