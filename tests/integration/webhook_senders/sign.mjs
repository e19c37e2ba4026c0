// Reads {"body": …, "secrets": {scheme: secret}} from stdin; prints the headers that each sender's own library makes, and
// whether Shopify's accepts them: it is written for receivers.
import { text } from "node:stream/consumers";
import { sign } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/node";
import { ApiVersion, LogSeverity, shopifyApi } from "@shopify/shopify-api";
import { createSHA256HMAC, HashFormat } from "@shopify/shopify-api/runtime";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";

const { body, secrets } = JSON.parse(await text(process.stdin));

const now = new Date();
const standard = {
  "webhook-id": "msg_1",
  "webhook-timestamp": String(Math.floor(now.getTime() / 1000)),
  "webhook-signature": new Webhook(secrets.standard).sign("msg_1", now, body),
};

const shopify = {
  "X-Shopify-Hmac-Sha256": await createSHA256HMAC(secrets.shopify, body, HashFormat.Base64),
  "X-Shopify-Webhook-Id": "webhook-1",
  "X-Shopify-Topic": "orders/create",
  "X-Shopify-Shop-Domain": "shop.myshopify.com",
  "X-Shopify-API-Version": "2026-01",
};
const receiver = shopifyApi({
  apiSecretKey: secrets.shopify,
  apiVersion: ApiVersion.January26,
  hostName: "localhost",
  isCustomStoreApp: true,
  adminApiAccessToken: "none",
  isEmbeddedApp: false,
  logger: { level: LogSeverity.Error },
});
const validation = await receiver.webhooks.validate({
  rawBody: body,
  rawRequest: { headers: shopify, method: "POST", url: "/" },
  rawResponse: {},
});
if (!validation.valid) {
  throw new Error(`Shopify's library refuses the request: ${validation.reason}`);
}

console.log(
  JSON.stringify({
    github: { "X-Hub-Signature-256": await sign(secrets.github, body), "X-GitHub-Delivery": "delivery-1" },
    stripe: { "Stripe-Signature": Stripe.webhooks.generateTestHeaderString({ payload: body, secret: secrets.stripe }) },
    shopify,
    standard,
  }),
);
