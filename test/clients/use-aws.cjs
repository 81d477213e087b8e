/**
 * An application with the unmodified metadata clients of the AWS SDK for JavaScript: for each line on
 * standard input it asks one of them and prints what that gets. The same line again asks the same
 * client, as a running application does.
 */
const { createInterface } = require('node:readline')
const { MetadataService } = require('@aws-sdk/ec2-metadata-service')
const { fromHttp } = require('@aws-sdk/credential-provider-http')
const { fromContainerMetadata, fromInstanceMetadata } = require('@smithy/credential-provider-imds')

const say = () => undefined
const logger = { debug: say, info: say, warn: say, error: say }

const CLIENTS = {
  imds: (options) => fromInstanceMetadata({ logger, ...options }),
  container: () => fromContainerMetadata({ logger }),
  http: () => fromHttp({ logger }),
  metadata: ({ path, ...options }) => {
    const service = new MetadataService(options)
    return async () => ({ value: await service.request(path, {}) })
  },
}
const clients = new Map()

async function answer(line) {
  const { client, ...options } = JSON.parse(line)
  try {
    if (!clients.has(line)) clients.set(line, CLIENTS[client](options))
    return await clients.get(line)()
  } catch (error) {
    return { error: error.message, status: error.statusCode ?? error.$metadata?.httpStatusCode }
  }
}

async function main() {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(line))}\n`)
  }
  process.exit(0)
}

void main()
