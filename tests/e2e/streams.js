// An app with WebSockets (as far as they are an upgraded connection), event streams, and a download that lasts until
// the file "finish" lies beside its slot.
const fs = require("fs"), http = require("http"), path = require("path");
const version = fs.readFileSync("version.txt", "utf8").trim();
const finish = path.join(process.cwd(), "..", "finish");

function repeat(answer, line, last) {
  const timer = setInterval(() => {
    if (last && fs.existsSync(finish)) { clearInterval(timer); answer.end(last); } else answer.write(line);
  }, 20);
  answer.on("close", () => clearInterval(timer));
}

const server = http.createServer((request, answer) => {
  if (request.url === "/events") {
    answer.writeHead(200, { "Content-Type": "text/event-stream" });
    repeat(answer, `data: ${version}\n\n`);
  } else if (request.url === "/download") {
    answer.writeHead(200, { "Content-Type": "application/octet-stream" });
    repeat(answer, "more\n", "the end\n");
  } else answer.end(`version ${version}\n`);
});
server.on("upgrade", (request, socket) => {
  socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
  socket.on("data", (said) => socket.write(`${version} ${said}`));
  socket.on("end", () => socket.end());
  socket.on("error", () => socket.destroy());
});
server.listen(process.env.PORT, process.env.HOST);
process.on("SIGTERM", () => server.close());
