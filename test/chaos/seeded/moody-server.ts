/** A web server that a probe asks, in four moods: well, slow, half-open (headers and no body), and refusing. */
import { createServer, type Socket } from "node:net";

export type Mood = "well" | "slow" | "half-open" | "closing";

export interface MoodyServer {
  readonly url: string;
  mood: Mood;
  readonly stop: () => void;
}

/** Longer than the probe waits, ms. */
const SLOW_MS = 1_500;
const ANSWER = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
const HALF = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nbut";

export function startMoodyServer(): MoodyServer {
  const sockets = new Set<Socket>();
  const state = { mood: "well" as Mood };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
    socket.once("data", () => {
      if (state.mood === "well") socket.end(ANSWER);
      if (state.mood === "slow") setTimeout(() => socket.end(ANSWER), SLOW_MS);
      if (state.mood === "half-open") socket.write(HALF);
      if (state.mood === "closing") socket.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}/health`,
    get mood() {
      return state.mood;
    },
    set mood(mood) {
      state.mood = mood;
    },
    stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
