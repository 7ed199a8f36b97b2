// The app that every procedure deploys: it takes a second to boot, and finishes its requests when it is told to stop.
//   GET /     "version N"      POST /    its body      /slow    the same, 0.3 s later
const http = require('http')
const version = require('fs').readFileSync(__dirname + '/version.txt', 'utf8').trim()
if (version === 'broken') throw new Error('a bug')
let stopping = false

const server = http.createServer((request, response) => {
  const parts = []
  request.on('data', part => parts.push(part))
  request.on('end', () => {
    const answer = () => {
      response.setHeader('X-Version', version)
      if (stopping) response.setHeader('Connection', 'close')
      response.end(request.method === 'POST' ? Buffer.concat(parts) : `version ${version}\n`)
    }
    request.url === '/slow' ? setTimeout(answer, 300) : answer()
  })
})
server.keepAliveTimeout = 75000

const stop = () => {
  stopping = true
  server.close(() => process.exit(0))
  server.closeIdleConnections()
}
process.on('SIGTERM', stop)
process.on('SIGINT', stop) // what PM2 sends

setTimeout(() => server.listen(process.env.PORT, '127.0.0.1'), 1000)
