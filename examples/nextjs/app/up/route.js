// What the health check asks for. Look here at what the app cannot do without, such as its database.
export const dynamic = "force-dynamic";

export function GET() {
  return new Response("ok\n");
}
