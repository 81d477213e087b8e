import { existsSync } from 'node:fs'
import { startLoad } from '../harness/load.ts'

/** `load-until.ts SOCKET TOKEN FILE`, in a guest: asks without a pause until there is a FILE. */
const [socketPath = '', token = '', file = ''] = process.argv.slice(2)
const load = startLoad({
  socketPath,
  path: '/latest/meta-data/instance-id',
  headers: { 'x-aliyun-ecs-metadata-token': token },
  keepAlive: 2,
  fresh: 2,
})
while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 100))
process.stdout.write(JSON.stringify(await load.stop()))
