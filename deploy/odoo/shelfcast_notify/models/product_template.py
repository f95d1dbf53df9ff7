"""After each commit that has changed a product's template, Shelfcast is told what
Odoo has of it. Where it is, and the token (scope products:write), are the system
parameters shelfcast.url, as http://shelfcast:8081, and shelfcast.token."""

import json
import logging
import urllib.request

from odoo import models

_logger = logging.getLogger(__name__)

WATCHED = {"name", "list_price", "active", "website_published", "description_sale"}
AT_ONCE = 1000


class ProductTemplate(models.Model):
    _inherit = "product.template"

    def write(self, vals):
        done = super().write(vals)
        if WATCHED.intersection(vals):
            self._shelfcast_notify()
        return done

    def _shelfcast_item(self):
        """One product, as Shelfcast's API has it."""
        self.ensure_one()
        digits = self.currency_id.decimal_places
        edit = {"title": self.name, "price": "%.*f" % (digits, self.list_price), "description": self.description_sale or ""}
        if "website_published" in self._fields:
            edit["published"] = bool(self.active and self.website_published)
        return {"external_id": "odoo:product.template:%d" % self.id, "set": edit}

    def _shelfcast_notify(self):
        params = self.env["ir.config_parameter"].sudo()
        url, token = params.get_param("shelfcast.url"), params.get_param("shelfcast.token")
        if not (url and token):
            return
        items = [product._shelfcast_item() for product in self.sudo()]

        def tell():
            for start in range(0, len(items), AT_ONCE):
                request = urllib.request.Request(
                    url.rstrip("/") + "/api/v1/products:refresh",
                    data=json.dumps({"products": items[start : start + AT_ONCE]}).encode(),
                    headers={"Authorization": "Bearer " + token, "Content-Type": "application/json"},
                )
                try:
                    with urllib.request.urlopen(request, timeout=5) as answer:
                        said = json.load(answer)
                    if said["failed"] or said["unknown"]:
                        _logger.warning("Shelfcast did not take %s, and does not know %s", said["failed"], said["unknown"])
                except OSError as failed:
                    # The commit stands. A nightly export through products:import finds what was missed.
                    _logger.warning("Shelfcast was not told of %d products: %s", len(items[start:]), failed)
                    return

        self.env.cr.postcommit.add(tell)
