// Every kind of traffic. What is held goes on until the file that RELEASE names is there.
const crypto = require('crypto')
const fs = require('fs')
const http = require('http')

const me = `${fs.readFileSync(__dirname + '/version.txt', 'utf8').trim()}-${process.pid}`
const block = Buffer.alloc(1 << 16, 'substitute ')
const released = () => fs.existsSync(process.env.RELEASE)
const upgraded = new Set()
const streams = new Set()
let stopping = false

const whenReleased = then => {
  const timer = setInterval(() => { if (released()) { clearInterval(timer); then() } }, 20)
}

const routes = {
  '/': (request, response) => {
    if (request.method === 'POST') return request.pipe(response)
    response.setHeader('Content-Length', me.length) // by which HTTP/1.0 too can tell that it is whole
    response.end(me)
  },
  '/held': (request, response) => whenReleased(() => response.end(me)),
  '/upload': (request, response) => {
    const sum = crypto.createHash('sha256')
    request.on('data', part => sum.update(part)).on('end', () => response.end(sum.digest('hex')))
  },
  '/download': (request, response) => {
    let left = 1024
    const more = () => {
      while (left-- > 0) if (!response.write(block)) return response.once('drain', more)
      response.end()
    }
    more()
  },
  '/events': (request, response) => {
    response.setHeader('Content-Type', 'text/event-stream')
    const tell = setInterval(() => response.write(`data: ${me}\n\n`), 20)
    streams.add(response)
    response.on('close', () => { clearInterval(tell); streams.delete(response) })
    whenReleased(() => { clearInterval(tell); response.end() })
  },
}

const server = http.createServer((request, response) => {
  response.setHeader('X-Version', me)
  if (stopping) response.setHeader('Connection', 'close')
  routes[request.url](request, response)
})

server.on('upgrade', (request, socket) => {
  const magic = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
  const accept = crypto.createHash('sha1').update(magic).digest('base64')
  socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`)
  upgraded.add(socket)
  socket.on('close', () => upgraded.delete(socket)).on('end', () => socket.end()).on('error', () => {})
  socket.on('data', frame => { // short masked text frames, one at a time, and Close
    const [length, mask] = [frame[1] & 127, frame.subarray(2, 6)]
    const text = frame.subarray(6, 6 + length).map((byte, index) => byte ^ mask[index % 4])
    if ((frame[0] & 15) === 8) return socket.end(Buffer.from([0x88, 0]))
    const answer = Buffer.concat([Buffer.from(me + ':'), text])
    socket.write(Buffer.concat([Buffer.from([0x81, answer.length]), answer]))
  })
})

process.on('SIGTERM', () => {
  stopping = true
  for (const stream of streams) stream.destroy()
  for (const socket of upgraded) socket.destroy()
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})

server.listen(process.env.PORT, process.env.HOST)
