// After SIGTERM it closes its listening socket, completes the running requests and exits; after 30 s it forces its own
// exit.
const http = require('http')
const messages = require('../../packages/messages/messages.json')

const server = http.createServer((request, response) => {
  response.setHeader('X-Version', process.env.SUBSTITUTE_COMMIT || '')
  request.pipe(response)
  if (request.method === 'GET') response.end(`${messages.greeting} from web\n`)
})

process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
  setTimeout(() => process.exit(1), 30000).unref()
})

server.listen(process.env.PORT, process.env.HOST, () => console.log(`listening on ${process.env.PORT}`))
